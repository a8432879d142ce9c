"""`python -m mnist_lab.predict`: its output, and what it refuses."""

import gzip
import os

import numpy as np
import pytest
import torch
from PIL import Image

from mnist_lab import models
from tests.commands.runs import assert_predicts, expected, idx, rows, table

LOADING = "Loading PyTorch and Lightning ...\n"


def save(model, path):
    """As a run does, without one."""
    content = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "mnist_lab": {"class": f"{type(model).__module__}.{type(model).__name__}", "data": None},
    }
    torch.save(content, path)


def test_a_checkpoint_file_and_a_single_picture(trained, images, lab_predict, tmp_path):
    Image.fromarray(images[0]).save(tmp_path / "one.png")
    checkpoint = trained / "checkpoints" / "last.ckpt"
    status, out, err = lab_predict(f"checkpoint={checkpoint}", "input=one.png")
    assert status == 0, err
    guess = expected(checkpoint, images[:1])[0]
    told = f"one.png: {guess.argmax()}, with a confidence of {guess.max():.3f}\n"
    assert out == LOADING + told + "1 prediction: predictions.csv\n"
    (row,) = assert_predicts(tmp_path / "predictions.csv", expected(checkpoint, images[:1]))
    assert row["file"] == "one.png"


def test_a_submission(trained, images, lab_predict, tmp_path):
    (tmp_path / "test.csv").write_text(table(images))
    status, _, err = lab_predict(f"checkpoint={trained}", "input=test.csv", "format=kaggle")
    assert status == 0, err
    lines = (tmp_path / "submission.csv").read_text().splitlines()
    guesses = expected(trained, images).argmax(1)
    assert lines == ["ImageId,Label", *(f"{i},{k}" for i, k in enumerate(guesses, 1))]


def test_what_it_is_not_sure_of_has_a_question_mark_and_a_guess(
    trained, images, lab_predict, tmp_path
):
    (tmp_path / "test.csv").write_text(table(images))
    given = [f"checkpoint={trained}", "input=test.csv", "batch_size=100"]
    assert lab_predict(*given, "output=plain.csv")[0] == 0
    status, out, err = lab_predict(*given, "temperature=0.5", "confident=0.8", "output=out.csv")
    assert status == 0, err
    with torch.inference_mode():
        logits = models.load(trained)(torch.from_numpy(images).unsqueeze(1))
    shares = (logits / 0.5).softmax(1).numpy()
    plain, found = rows(tmp_path / "plain.csv"), rows(tmp_path / "out.csv")
    assert list(found[0]) == ["index", "prediction", "guess", *list(plain[0])[2:]]
    np.testing.assert_allclose([float(row["p3"]) for row in found], shares[:, 3], atol=1e-6)
    assert [row["guess"] for row in found] == [row["prediction"] for row in plain]
    unsure = 0
    for row in found:
        sure = float(row["confidence"]) >= 0.8
        assert row["prediction"] == (row["guess"] if sure else "?")
        unsure += not sure
    assert 0 < unsure < len(found)
    assert f"360 predictions, {unsure} of them ?: out.csv\n" in out


def test_a_single_picture_that_it_is_not_sure_of(trained, images, lab_predict, tmp_path):
    Image.fromarray(images[0]).save(tmp_path / "one.png")
    status, out, err = lab_predict(f"checkpoint={trained}", "input=one.png", "confident=1",
                                   "temperature=3")  # fmt: skip
    assert status == 0, err
    (row,) = rows(tmp_path / "predictions.csv")
    told = (
        f"one.png: ?, at best {row['guess']}, with a confidence of {float(row['confidence']):.3f}"
    )
    assert told in out


def test_numbered_pictures_have_their_numbers_as_ids(trained, images, lab_predict, tmp_path):
    numbers = [1, 2, 10, 11, 300]
    (tmp_path / "png").mkdir()
    for number, image in zip(numbers, images, strict=False):
        Image.fromarray(image).save(tmp_path / "png" / f"{number}.png")
    status, _, err = lab_predict(f"checkpoint={trained}", "input=png", "format=kaggle")
    assert status == 0, err
    guesses = expected(trained, images[:5]).argmax(1)
    lines = (tmp_path / "submission.csv").read_text().splitlines()
    assert lines[1:] == [f"{i},{k}" for i, k in zip(numbers, guesses, strict=True)]


BAD = {
    "no checkpoint": (["checkpoint=nowhere"], "nowhere: there is no such file"),
    "a folder without one": (["checkpoint=empty"], "empty/checkpoints/best.ckpt: there is no"),
    "no checkpoint in it": (["checkpoint=text.ckpt"], "text.ckpt: not a readable checkpoint"),
    "another format": (["checkpoint=other.ckpt"], "other.ckpt: not a checkpoint of mnist_lab"),
    "no input": (["input=nowhere"], "nowhere: No such file or directory"),
    "no picture": (["input=nowhere.png"], "nowhere.png: No such file or directory"),
    "an empty folder": (["input=empty"], "empty: holds no pictures (.png, .jpg"),
    "only a bad picture": (["input=bad.png"], "bad.png: not a readable picture"),
    "a huge picture": (["input=huge.png"], "huge.png: more than the 50,000,000 pixels allowed"),
    "an empty file": (["input=empty.csv"], "empty.csv: empty"),
    "other columns": (["input=other.csv"], "other.csv: columns missing: pixel0, pixel1"),
    "text in a late row": (
        ["input=late.csv"],
        "late.csv: line 361, column pixel783: 'x' is no number from 0 to 255",
    ),
    "a short IDX": (["input=short.idx"], "short.idx: ends before the last of its 360 images"),
    "a long IDX": (["input=long.idx"], "long.idx: goes on after the last of its 360 images"),
    "none of them": (["input=text.ckpt"], "text.ckpt: neither picture nor IDX file nor table"),
    "labels": (["input=labels.idx"], "labels.idx: its shape is (5,), not that of images"),
    "a short archive": (["input=short.gz"], "short.gz: Compressed file ended before"),
    "a damaged archive": (["input=damaged.gz"], "damaged.gz: "),
    "an output that exists": (["output=x.idx"], "output=x.idx: exists; overwrite=true"),
    "an output in no folder": (["output=no/such.csv"], "output=no/such.csv: cannot be written"),
    "a folder as output": (["output=empty", "overwrite=true"], "output=empty: is a folder"),
    "batch_size": (["batch_size=0"], "batch_size=0: should be"),
    "format": (["format=xml"], "format=xml: should be 'csv' or 'kaggle'"),
    "a remedy for pictures": (
        ["input=good.png", "invert=true"],
        "invert, scale and transpose are for",
    ),
    "too bright": (["scale=2"], " times 2 is no number from 0 to 255"),
    "a temperature": (["temperature=0"], "temperature=0: should be greater than 0"),
    "a confidence": (["confident=99"], "confident=99: should be less than or equal to 1"),
    "no label in a submission": (
        ["confident=0.99", "format=kaggle"],
        "confident=0.99: a submission has a label for every image",
    ),
    "a scale": (["scale=-1"], "scale=-1: should be greater than 0"),
    "three channels": (["checkpoint=colour.ckpt"], "colour.ckpt: takes images of 3 channels"),
    "device": (["device=abacus"], "device=abacus: "),
    "a typing error": (["chekpoint=x"], "chekpoint: no such setting; did you mean checkpoint?"),
}


@pytest.mark.parametrize("arguments, told", BAD.values(), ids=BAD)  # noqa: PT006
def test_bad_input_is_told_in_a_line_and_leaves_nothing(
    arguments, told, trained, images, lab_predict, tmp_path
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.ckpt").write_text("text")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    Image.fromarray(images[0]).save(tmp_path / "good.png")
    save(models.LeNet(in_channels=3), tmp_path / "colour.ckpt")
    (tmp_path / "bad.png").write_text("text")
    (tmp_path / "huge.png").write_bytes(b"P5 30000 30000 255\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "late.csv").write_text(table(images).rstrip().rpartition(",")[0] + ",x\n")
    (tmp_path / "x.idx").write_bytes(idx(images))
    (tmp_path / "short.idx").write_bytes(idx(images)[:-1])
    (tmp_path / "long.idx").write_bytes(idx(images) + b"0")
    (tmp_path / "labels.idx").write_bytes(b"\0\0\x08\x01\0\0\0\x0512345")
    packed = gzip.compress(idx(images))
    (tmp_path / "short.gz").write_bytes(packed[:-500])
    (tmp_path / "damaged.gz").write_bytes(packed[:9000] + b"damage" * 200 + packed[10_200:])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    given = {x.partition("=")[0] for x in arguments}
    rest = {"checkpoint": trained, "input": "x.idx", "output": "out.csv", "batch_size": 100}
    status, _, err = lab_predict(
        *arguments, *(f"{key}={value}" for key, value in rest.items() if key not in given)
    )
    assert status == 1
    assert told in err
    assert len(err.splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_link_is_written_through_and_what_is_no_file_stays(
    trained, images, lab_predict, tmp_path
):
    (tmp_path / "x.idx").write_bytes(idx(images))
    (tmp_path / "before.csv").write_text("before")
    (tmp_path / "link").symlink_to("before.csv")
    (tmp_path / "dangling").symlink_to("new.csv")
    os.mkfifo(tmp_path / "pipe")
    arguments = [f"checkpoint={trained}", "input=x.idx", "overwrite=true"]
    for name, place in (("link", "before.csv"), ("dangling", "new.csv")):
        status, _, err = lab_predict(*arguments, f"output={name}")
        assert (status, err) == (0, "")
        assert (tmp_path / name).is_symlink()
        assert len(rows(tmp_path / place)) == len(images)
    status, _, err = lab_predict(*arguments, "output=pipe")
    assert (status, err) == (1, "output=pipe: is no file that could be replaced\n")
    assert (tmp_path / "pipe").is_fifo()


def test_it_is_no_sweep(lab_predict, tmp_path):
    status, _, err = lab_predict("-m", "checkpoint=a,b", "input=x")
    assert (status, err) == (1, "predict takes one checkpoint and one input=FOLDER, not -m\n")
    assert not list(tmp_path.iterdir())


def test_help_is_the_commented_configuration(lab_predict):
    status, out, _ = lab_predict("--help")
    assert status == 0
    assert "input: ???       # a picture, a folder of pictures" in out
    assert "defaults" not in out
    assert "hydra" not in out


def test_missing_settings_are_named(lab_predict):
    status, _, err = lab_predict("input=x")
    assert status == 1
    assert "checkpoint: a value is missing" in err


def test_what_was_there_stays_until_the_new_is_whole(trained, images, lab_predict, tmp_path):
    (tmp_path / "x.idx").write_bytes(idx(images)[:-1])
    (tmp_path / "out.csv").write_text("before")
    arguments = [f"checkpoint={trained}", "input=x.idx", "output=out.csv", "overwrite=true"]
    assert lab_predict(*arguments, "batch_size=10")[0] == 1
    assert (tmp_path / "out.csv").read_text() == "before"
    (tmp_path / "x.idx").write_bytes(idx(images))
    assert lab_predict(*arguments)[0] == 0
    assert_predicts(tmp_path / "out.csv", expected(trained, images))


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["inptu=x"]])
def test_composing_imports_neither_torch_nor_lightning(arguments, heavy_imports, tmp_path):
    assert heavy_imports("mnist_lab.predict", *arguments) == set()
    assert not list(tmp_path.iterdir())

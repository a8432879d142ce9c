"""What evaluate writes, where, and what it leaves alone; what it refuses."""

import os
import subprocess

import pytest
import torch

from tests.commands.runs import read, write_checkpoint


@pytest.mark.slow
def test_overwriting(trained, other, lab_evaluate, tmp_path):
    given = [f"checkpoint={trained}", "output=out"]
    (tmp_path / "out").mkdir()  # an empty one will do
    assert lab_evaluate(*given, "inside=0").status == 0
    before = (tmp_path / "out/evaluation.json").read_text()
    killed = tmp_path / "out/.mnist_lab-0123456789abcdef.part"  # of one that was killed
    killed.mkdir()
    (killed / "evaluation.json").touch()
    called = lab_evaluate(*given)
    assert called.status == 1
    assert "output=out: exists; overwrite=true replaces it" in called.err
    assert (tmp_path / "out/evaluation.json").read_text() == before
    assert lab_evaluate(f"checkpoint={other}", "output=out", "overwrite=true").status == 0
    assert (tmp_path / "out/evaluation.json").read_text() != before
    assert not (tmp_path / "out/figures/filters.png").exists()
    assert not killed.exists()
    # What is somebody else's stays, and so does a run.
    (tmp_path / "out/notes.txt").write_text("mine")
    called = lab_evaluate(*given, "overwrite=true")
    assert "output=out: holds something else: notes.txt" in called.err
    called = lab_evaluate(f"checkpoint={trained}", f"output={trained}", "overwrite=true")
    assert "holds something else" in called.err
    assert (trained / "checkpoints/best.ckpt").exists()


def test_the_folder_that_one_stands_in(trained, lab_evaluate, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for more in ([], ["overwrite=true"]):
        called = lab_evaluate(f"checkpoint={trained}", "output=.", *more)
        assert (called.status, called.err) == (0, "")
    assert read(tmp_path / "here")["images"] == 360
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*")
            if path.is_file()}  # fmt: skip


def test_what_lies_beside_the_output_stays(trained, lab_evaluate, tmp_path):
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part/thesis.txt").write_text("mine")
    assert lab_evaluate(f"checkpoint={trained}", "output=out").status == 0
    assert (tmp_path / "out.part/thesis.txt").read_text() == "mine"
    assert lab_evaluate(f"checkpoint={trained}", "output=out", "overwrite=true").status == 0
    assert (tmp_path / "out.part/thesis.txt").read_text() == "mine"
    names = ["evaluation.json", "figures", "per_class.csv", "predictions.csv", "report.html"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def test_an_evaluation_that_cannot_be_replaced_is_as_it_was(trained, other, lab_evaluate, tmp_path):
    out = tmp_path / "out"
    assert lab_evaluate(f"checkpoint={trained}", "output=out").status == 0
    before = contents(out)
    # Nothing can be moved away from there, not even by the superuser.
    if subprocess.run(["chattr", "+i", str(out / "figures")], capture_output=True).returncode:
        pytest.skip("folders cannot be made immutable here")
    try:
        called = lab_evaluate(f"checkpoint={other}", "output=out", "overwrite=true")
        assert called.status == 1
        assert "output=out: cannot be written" in called.err
        assert contents(out) == before
        assert set(tmp_path.glob("out/.*")) == set()
    finally:
        subprocess.run(["chattr", "-i", str(out / "figures")], check=True)


def test_an_evaluation_fills_a_mounted_folder(trained, other, lab_evaluate, mounted, tmp_path):
    out = mounted(tmp_path / "out", "12m")
    assert lab_evaluate(f"checkpoint={trained}", "output=out").status == 0
    before = read(out)
    assert lab_evaluate(f"checkpoint={other}", "output=out", "overwrite=true").status == 0
    assert read(out) != before


BAD = {
    "no checkpoint": (["checkpoint=nowhere"], "nowhere: there is no such file"),
    "a folder without one": (["checkpoint=empty"], "empty/checkpoints/best.ckpt: there is no"),
    "none in it": (["checkpoint=text.ckpt"], "text.ckpt: not a readable checkpoint"),
    "another format": (["checkpoint=other.ckpt"], "other.ckpt: not a checkpoint of mnist_lab"),
    "an empty list": (["checkpoint=[]"], "checkpoint=[]: name at least one"),
    "a number": (["checkpoint=3"], "3: there is no such file"),
    "other classes among members": (
        ["checkpoint=[TRAINED,two.ckpt]"],
        "checkpoint=two.ckpt: has the classes yes, no; TRAINED has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    ),
    "other classes than the data's": (
        ["checkpoint=two.ckpt", "data=digits"],
        "data=digits: has the classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; two.ckpt has yes, no",
    ),
    "an unknown dataset": (
        ["checkpoint=two.ckpt"],
        "trained on mine: say data=NAME; there are cifar10, digits, emnist,",
    ),
    "no dataset": (["checkpoint=bare.ckpt"], "bare.ckpt: was trained on no dataset: say data=NAME"),
    "a split that isn't described": (
        ["checkpoint=strange.ckpt"],
        "strange.ckpt: doesn't describe its split: val_size=",
    ),
    "different splits": (
        ["checkpoint=[TRAINED,OTHER]", "split=val"],
        "split=val: the checkpoints have different ones",
    ),
    "a split": (["split=best"], "split=best: should be 'test', 'val', 'train' or 'all'"),
    "data": (["data=emist"], "data=emist: no such choice; did you mean"),
    "no root": (["data=kaggle"], "data.root: a value is missing"),
    "no root of folders": (["data=folder"], "data.root: a value is missing"),
    "a value of data": (["data=digits", "data.val_size=x"], "data.val_size=x: should be a valid"),
    "a range of data": (["data=digits", "data.val_size=-1"], "data: val_size must lie between"),
    "no validation": (
        ["data=digits", "data.val_size=0", "split=val"],
        "split=val: there are no validation images",
    ),
    "no validation to fit a temperature on": (
        ["data=digits", "data.val_size=0", "calibrate=true"],
        "calibrate=true: there are no validation images",
    ),
    "no validation for an accuracy": (
        ["data=digits", "data.val_size=0", "accuracy=0.9"],
        "accuracy=0.9: there are no validation images",
    ),
    "somebody else's validation images": (
        ["checkpoint=bare.ckpt", "data=digits", "calibrate=true"],
        "bare.ckpt was not trained on data=digits",
    ),
    "different validation images": (
        ["checkpoint=[TRAINED,OTHER]", "calibrate=true"],
        "validation images: the checkpoints have different ones",
    ),
    "an accuracy": (["accuracy=99"], "accuracy=99: should be less than or equal to 1"),
    "an unknown foreign dataset": (
        ["foreign=[kmnits]"],
        "foreign=kmnits: there is no such dataset; did you mean kmnist?",
    ),
    "the network's own as a foreign one": (["foreign=digits"], "foreign=digits: is the network's"),
    "a foreign dataset without a root": (
        ["foreign=[folder]"],
        "foreign=folder: data.root: a value",
    ),
    "augment": (["augment=shift", "augment.shift=-1"], "augment.shift=-1: should be"),
    "a corruption": (["corrupt=fgo"], "corrupt=fgo: no such choice; did you mean fog?"),
    "a severity": (["corrupt=fog", "corrupt.severity=6"], "corrupt.severity=6: should be"),
    "a severity of several": (
        ["corrupt=mnist_c", "corrupt.fog.severity=high"],
        "corrupt.fog.severity=high: should be",
    ),
    "a severity of none": (
        ["corrupt=stripe", "corrupt.severity=2"],
        "corrupt.severity: no such setting",
    ),
    "a reference": (
        ["reference.mnist.test={fog: 0}"],
        "reference.mnist.test.fog=0: should be greater than 0",
    ),
    "tta": (["tta=26"], "tta must lie between 1 and 25, not 26"),
    "inside": (["inside=360"], "inside must lie between 0 and 359, not 360"),
    "inside of many": (["checkpoint=[TRAINED,OTHER]", "inside=0"], "name one checkpoint"),
    "batch_size": (["batch_size=0"], "batch_size=0: should be"),
    "seed": (["seed=-1"], "seed=-1: should be"),
    "device": (["device=abacus"], "device=abacus: "),
    "disputed": (["+disputed.digits.test=[360]"], "disputed: there is no image 360 among 360"),
    "a file as output": (["output=text.ckpt"], "output=text.ckpt: Not a directory"),
    "a pipe as output": (["output=pipe", "overwrite=true"], "output=pipe: Not a directory"),
    "a link to nothing": (["output=dangling"], "output=dangling: is a link to nothing"),
    "below a file": (["output=text.ckpt/out"], "output=text.ckpt/out: Not a directory"),
    "a full folder": (["output=full", "overwrite=true"], "output=full: holds something else: x"),
    "a typing error": (["chekpoint=x"], "chekpoint: no such setting; did you mean checkpoint?"),
}


@pytest.mark.parametrize("arguments, told", BAD.values(), ids=BAD)  # noqa: PT006
def test_bad_input_is_told_in_a_line_and_leaves_nothing(
    arguments, told, trained, other, lab_evaluate, tmp_path
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "text.ckpt").write_text("text")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    described = {"name": "mine", "classes": ["yes", "no"], "val_size": 5, "train_size": None,
                 "split_seed": 0}  # fmt: skip
    write_checkpoint(tmp_path / "two.ckpt", described, num_classes=2)
    write_checkpoint(tmp_path / "bare.ckpt", None)
    digits = [str(digit) for digit in range(10)]
    strange = {**described, "name": "digits", "classes": digits, "val_size": "0 data=mnist"}
    write_checkpoint(tmp_path / "strange.ckpt", strange)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    arguments = [x.replace("TRAINED", str(trained)).replace("OTHER", str(other)) for x in arguments]
    given = {x.partition("=")[0] for x in arguments}
    rest = {"checkpoint": trained, "output": "out"}
    called = lab_evaluate(
        *arguments, *(f"{key}={value}" for key, value in rest.items() if key not in given)
    )
    assert called.status == 1
    assert told.replace("TRAINED", str(trained)) in called.err
    assert len(called.err.splitlines()) == 1
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.slow
def test_a_sweep_has_one_folder(trained, lab_evaluate, tmp_path):
    arguments = [f"checkpoint={trained}", "augment=affine", "augment.shift=0,6"]
    called = lab_evaluate("-m", *arguments)
    assert called.status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    (sweep,) = (tmp_path / "outputs/evaluations").iterdir()
    near, far = sorted(path for path in sweep.iterdir() if path.is_dir())
    assert near.name.startswith("0_augment-affine_shift-0")
    assert far.name.startswith("1_augment-affine_shift-6")
    assert read(near)["metrics"]["accuracy"] > read(far)["metrics"]["accuracy"]
    cells = [line.split("│") for line in called.out.splitlines() if "_augment-affine_" in line]
    rows_at_the_end = {row[1].strip(): row[3].strip() for row in cells if len(row) == 7}
    assert rows_at_the_end == {
        path.name: f"{read(path)['metrics']['accuracy']:.4f}" for path in (near, far)
    }


def test_what_fails_in_a_sweep_is_named_and_leaves_no_folder(trained, lab_evaluate, tmp_path):
    called = lab_evaluate("-m", f"checkpoint=nowhere,{trained},gone")
    assert called.status == 1
    assert called.err == "nowhere: there is no such file\n"
    failures = [line for line in called.out.splitlines() if "there is no such file" in line]
    assert failures == [
        "#0_checkpoint-nowhere: nowhere: there is no such file",
        "#2_checkpoint-gone: gone: there is no such file",
    ]
    assert len(list(tmp_path.glob("outputs/evaluations/*/*/evaluation.json"))) == 1
    assert len([path for path in tmp_path.glob("outputs/evaluations/*/*") if path.is_dir()]) == 1
    called = lab_evaluate("-m", f"checkpoint={trained}", "tta=1,2", "output=out")
    assert called.err == "output=out: -m gives each a folder of its own\n"

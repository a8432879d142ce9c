"""The same labels from whatever holds the images."""

import bz2
import gzip
import io
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageOps

from mnist_lab.data import DataModule, Digits, FolderSource
from tests.commands.runs import as_pngs, assert_predicts, expected, fitted, idx, rows, table


def zipped(name, content):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


def write_inputs(folder, images):
    np.save(folder / "x.npy", images)
    np.savez_compressed(folder / "x.npz", x=images, y=np.zeros(len(images)))
    (folder / "x.idx.bz2").write_bytes(bz2.compress(idx(images)))
    (folder / "test.zip").write_bytes(zipped("test.csv", table(images)))
    (folder / "x.idx").write_bytes(idx(images))
    (folder / "x.idx.gz").write_bytes(gzip.compress(idx(images)))
    (folder / "test.csv").write_text(table(images))
    (folder / "train.csv").write_text(table(images, [7] * len(images)))
    (folder / "test.csv.gz").write_bytes(gzip.compress(table(images).encode()))
    as_pngs(folder / "png", images)


LOADING = "Loading PyTorch and Lightning ...\n"
INPUTS = [
    "x.idx", "x.idx.gz", "x.idx.bz2", "test.csv", "train.csv", "test.csv.gz", "test.zip", "x.npy",
    "x.npz", "png",
]  # fmt: skip


@pytest.fixture(scope="module")
def inputs(images, tmp_path_factory):
    """A folder with the images in every form."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder, images)
    return folder


@pytest.mark.parametrize("source", INPUTS)
def test_every_kind_of_input_gives_what_the_network_says(
    source, trained, images, inputs, lab_predict, tmp_path
):
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    probabilities = expected(trained, images)
    status, out, err = lab_predict(
        f"checkpoint={trained}", f"input={source}", "output=out.csv", "batch_size=77"
    )
    assert (status, err) == (0, "")
    read = "x.npz is read thus: labels are y\n" if source == "x.npz" else ""
    assert out == LOADING + read + "360 predictions: out.csv\n"
    found = assert_predicts(tmp_path / "out.csv", probabilities)
    first = "file" if source == "png" else "index"
    assert list(found[0]) == [first, "prediction", "confidence", *(f"p{k}" for k in range(10))]
    places = [f"{i:05}.png" for i in range(360)] if source == "png" else map(str, range(360))
    assert [row[first] for row in found] == list(places)
    left = {*INPUTS, "out.csv"}
    assert {path.name for path in tmp_path.iterdir()} == left  # no log, no folder of Hydra's


def test_how_a_table_was_understood_is_told(trained, images, lab_predict, tmp_path):
    listed = enumerate(images.reshape(-1, 784).tolist())
    rows = "".join(";".join(map(str, [i, *row, i % 10])) + "\n" for i, row in listed)
    (tmp_path / "x.txt").write_text(rows)
    status, out, err = lab_predict(f"checkpoint={trained}", "input=x.txt", "output=out.csv")
    assert (status, err) == (0, "")
    assert out.splitlines()[1] == (
        "x.txt is read thus: no header; separated by semicolons; the first column counts, and is "
        "left out; the last column is the label"
    )
    assert_predicts(tmp_path / "out.csv", expected(trained, images))


DAMAGES = {
    "invert=true": lambda images: 255 - images,
    "transpose=true": lambda images: images.transpose(0, 2, 1),
    "scale=255": lambda images: (images > 127).astype(np.uint8),
}


@pytest.mark.parametrize("form", ["csv", "idx", "npy", "npz"])
@pytest.mark.parametrize("remedy", DAMAGES)
def test_images_unlike_those_trained_on_are_refused_and_put_right_as_told(
    remedy, form, trained, images, lab_predict, tmp_path
):
    damaged = np.ascontiguousarray(DAMAGES[remedy](images))
    name = f"x.{form}"
    if form == "csv":
        (tmp_path / name).write_text(table(damaged))
    elif form == "idx":
        (tmp_path / name).write_bytes(idx(damaged))
    else:
        (np.save if form == "npy" else np.savez)(tmp_path / name, damaged)
    arguments = [f"checkpoint={trained}", f"input={name}", "output=out.csv"]
    status, _, err = lab_predict(*arguments)
    assert status == 1
    assert len(err.splitlines()) == 1
    assert err.startswith(f"input={name}: images unlike those that the network was trained on")
    assert f"{remedy} puts that right" in err
    assert not (tmp_path / "out.csv").exists()
    status, _, err = lab_predict(*arguments, remedy)
    assert status == 0
    assert err == "" or remedy == "scale=255"  # which two levels are still odd
    right = DAMAGES[remedy](images) * 255 if remedy == "scale=255" else images
    assert_predicts(tmp_path / "out.csv", expected(trained, right))
    key = remedy.partition("=")[0]
    as_they_are = f"{key}={1 if key == 'scale' else 'false'}"
    status, *_ = lab_predict(*arguments, as_they_are, "overwrite=true")
    assert status == 0
    assert_predicts(tmp_path / "out.csv", expected(trained, damaged))


@pytest.mark.slow
def test_classes_have_their_names_and_pictures_their_folders(lab_predict, tmp_path):
    """Trained on folders, predicted in a folder of folders: mostly the folder's own name."""
    images, labels = Digits().read(None, "train")
    names = ["cinq", "deux", "un, ou une"]
    for name, digit in zip(names, (5, 2, 1), strict=True):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i, each in enumerate(images[labels == digit]):
            picture = ImageOps.invert(Image.fromarray(each[0].numpy())).resize((90, 90))
            picture.save(tmp_path / "own" / name / f"{i}.png")
    data = DataModule(FolderSource(names), root=str(tmp_path / "own"), val_size=0.1)
    folder = fitted(data, tmp_path / "run", epochs=6, num_classes=3)
    status, _, err = lab_predict(f"checkpoint={folder}", "input=own")
    assert status == 0, err
    found = rows(tmp_path / "predictions.csv")
    assert list(found[0])[-3:] == ["p_cinq", "p_deux", "p_un, ou une"]
    assert {row["prediction"] for row in found} == set(names)
    hits = [row["file"].rpartition("/")[0] == row["prediction"] for row in found]
    assert len(hits) == sum(int((labels == digit).sum()) for digit in (5, 2, 1))
    assert np.mean(hits) > 0.9


def test_an_unreadable_picture_is_named_and_the_others_are_predicted(
    trained, images, lab_predict, tmp_path
):
    as_pngs(tmp_path / "png", images[:20])
    (tmp_path / "png" / "00003.png").write_bytes(b"no picture")
    Image.new("L", (300, 300), 9).save(tmp_path / "png" / "00017.png")
    (tmp_path / "png" / "notes.txt").touch()
    status, out, err = lab_predict(
        f"checkpoint={trained}", "input=png", "output=out.csv", "batch_size=4"
    )
    assert status == 1
    assert "00003.png: not a readable picture" in err
    assert "00017.png: a blank picture" in err
    assert "2 of 20 pictures were not readable" in err
    assert "Left alone, being no pictures: notes.txt" in err
    assert "18 predictions" in out
    good = [i for i in range(20) if i not in (3, 17)]
    found = assert_predicts(tmp_path / "out.csv", expected(trained, images[good]))
    assert [row["file"] for row in found] == [f"{i:05}.png" for i in good]
    # In a submission the ids of the others stay their own.
    lab_predict(f"checkpoint={trained}", "input=png", "format=kaggle")
    assert [int(row["ImageId"]) for row in rows(tmp_path / "submission.csv")] == [
        i + 1 for i in good
    ]


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.parametrize("source", ["png", "test.csv"])
def test_mnist_as_pictures_or_table_gets_the_labels_that_the_run_reported(
    source, mnist, lab_predict, tmp_path
):
    folder, data = mnist
    images = data.tensors("test")[0][:2000].squeeze(1).numpy()
    if source == "png":
        as_pngs(tmp_path / "png", images)
    else:
        (tmp_path / "test.csv").write_text(table(images))
    status, _, err = lab_predict(f"checkpoint={folder}", f"input={source}", "output=out.csv")
    assert status == 0, err
    reported = [row["prediction"] for row in rows(folder / "predictions.csv")]
    assert [row["prediction"] for row in rows(tmp_path / "out.csv")] == reported[:2000]


@pytest.mark.slow
@pytest.mark.mnist
def test_photographs_of_mnist_get_the_originals_labels(mnist, lab_predict, tmp_path):
    """Large, coloured, dark on light, noisy, JPEG: the same label as the original's of 19 in 20."""
    folder, data = mnist
    images = data.tensors("test")[0].squeeze(1).numpy()
    random = np.random.RandomState(0)
    (tmp_path / "photos").mkdir()
    for i, each in enumerate(images[:300]):
        large = Image.fromarray(each).resize((300, 300), Image.Resampling.BICUBIC)
        page = ImageOps.expand(large, tuple(random.randint(0, 150, 4).tolist()))
        photo = np.asarray(ImageOps.colorize(page, (235, 225, 205), (60, 40, 90)), float)
        photo += np.linspace(-20, 20, photo.shape[1])[:, None] + random.normal(0, 4, photo.shape)
        picture = Image.fromarray(photo.clip(0, 255).astype(np.uint8))
        picture.save(tmp_path / "photos" / f"{i:03}.jpg", quality=60)
    status, _, err = lab_predict(f"checkpoint={folder}", "input=photos", "output=out.csv")
    assert status == 0, err
    originals = expected(folder, images[:300]).argmax(1)
    found = [int(row["prediction"]) for row in rows(tmp_path / "out.csv")]
    assert (originals == found).mean() > 0.95

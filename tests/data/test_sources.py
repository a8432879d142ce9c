"""Published datasets are those of torchvision; their files are verified, fetched and repaired."""

import functools
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from mnist_lab.data import DataError, Digits
from tests.data.archives import (
    ARCHIVES,
    ARRAYS,
    ELEVENTH,
    IMAGES,
    LABELS,
    MD5,
    NAMES,
    RAW,
    assert_complete,
    flip_last_bit,
    idx,
    left_over,
    md5,
    serving,
    tiny,
    write,
)

CONF = Path(__file__).resolve().parents[2] / "conf"


@functools.cache
def configured(name):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(f"data/{name}").data


@pytest.mark.mnist
def test_mnist_is_read_as_torchvision_reads_it(mnist_root):
    source = instantiate(configured("mnist").source, _convert_="all")
    reader = torchvision.datasets.mnist
    for split, prefix in [("train", "train"), ("test", "t10k")]:
        images, labels = source.read(mnist_root, split)
        folder = mnist_root / "mnist"
        theirs = reader.read_image_file(str(folder / f"{prefix}-images-idx3-ubyte"))
        assert images.dtype == torch.uint8
        assert torch.equal(images, theirs.unsqueeze(1))
        theirs = reader.read_label_file(str(folder / f"{prefix}-labels-idx1-ubyte"))
        assert labels.dtype == torch.int64
        assert torch.equal(labels, theirs)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("mnist", torchvision.datasets.MNIST),
        ("fashion_mnist", torchvision.datasets.FashionMNIST),
        ("kmnist", torchvision.datasets.KMNIST),
    ],
)
def test_addresses_and_sums_are_torchvisions(name, theirs):
    source = instantiate(configured(name).source, _convert_="all")
    assert source.name == name
    assert source.md5 == dict(theirs.resources)
    assert source.urls[0].startswith("https://")
    known = [url.rstrip("/").partition("://")[2] for url in theirs.mirrors]
    assert {url.partition("://")[2] for url in source.urls} & set(known)
    assert not any("yann.lecun.com" in url for url in source.urls)  # dead
    assert source.sizes == {"train": 60000, "test": 10000}
    # theirs: "0 - zero", "T-shirt/top", "Ankle boot"
    names = [c.split(" - ")[0].split("/")[0].lower() for c in theirs.classes]
    assert [c.lower() for c in source.classes] == names


@pytest.mark.parametrize("lost", [[], ["gz"], ["extracted"]])
def test_what_torchvision_has_left_is_taken_and_nothing_fetched(root, lost):
    class Tiny(torchvision.datasets.MNIST):
        resources = tuple(MD5.items())

    with serving(ARCHIVES) as (url, _):
        Tiny.mirrors = [f"{url}/"]
        Tiny(str(root), download=True)
    theirs = root / "Tiny/raw"
    if "gz" in lost:
        for path in theirs.glob("*.gz"):
            path.unlink()
    if "extracted" in lost:
        for name in NAMES:
            (theirs / name).write_bytes(b"short")  # as after a kill
    source = tiny("http://localhost:9/nowhere")
    source.torchvision = "Tiny"
    source.md5_extracted = {name: md5(raw) for name, raw in RAW.items()}
    source.prepare(root, None)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = source.read(root, split)
        assert np.array_equal(images[:, 0], ARRAYS[f"{prefix}-images-idx3-ubyte"])
        assert np.array_equal(labels, ARRAYS[f"{prefix}-labels-idx1-ubyte"])


def test_a_wrong_file_of_torchvisions_is_not_taken(root):
    write(root / "Tiny/raw", RAW | {IMAGES: idx(255 - ARRAYS[IMAGES])})
    source = tiny("http://localhost:9/nowhere")
    source.torchvision = "Tiny"
    source.md5_extracted = {name: md5(raw) for name, raw in RAW.items()}
    with pytest.raises(DataError, match=IMAGES):
        source.prepare(root, None)


def test_only_mnist_has_published_sums_of_extracted_files():
    names = [archive.removesuffix(".gz") for archive in configured("mnist").source.md5]
    assert list(configured("mnist").source.md5_extracted) == names
    for name in ("fashion_mnist", "kmnist"):
        assert instantiate(configured(name).source, _convert_="all").md5_extracted is None


@pytest.mark.parametrize("road", ["folder", "relative folder", "file URL", "HTTP", "HTTP/", "urls"])
def test_every_road_leads_to_the_same_tensors(mirror, root, monkeypatch, road):
    monkeypatch.chdir(mirror.parent)
    with serving(ARCHIVES) as (url, _):
        address = {
            "folder": str(mirror),
            "relative folder": mirror.name,
            "file URL": mirror.as_uri(),
            "HTTP": url,
            "HTTP/": url + "/",
            "urls": None,
        }[road]
        source = tiny() if address else tiny(url)
        source.prepare(root, address)
    assert_complete(root)
    for split, prefix in [("train", "train"), ("test", "t10k")]:
        images, labels = source.read(root, split)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        np.testing.assert_array_equal(images[:, 0], ARRAYS[f"{prefix}-images-idx3-ubyte"])
        np.testing.assert_array_equal(labels, ARRAYS[f"{prefix}-labels-idx1-ubyte"])


def test_good_files_are_left_alone(mirror, root, messages):
    tiny().prepare(root, str(mirror))
    assert messages() == [f"Downloading {(mirror / archive).as_uri()}" for archive in ARCHIVES]
    before = {path: path.stat().st_mtime_ns for path in (root / "tiny").glob("*ubyte")}
    with serving(ARCHIVES) as (url, asked):
        tiny().prepare(root, url)
    assert asked == []
    assert len(messages()) == len(ARCHIVES)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert len(before) == 4


def test_good_files_on_a_disk_that_can_only_be_read(mirror, root):
    tiny().prepare(root, str(mirror))
    lock = root / "tiny/.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()  # so that no lock can be had, by root either
    tiny().prepare(root, None)
    (root / "tiny" / IMAGES).unlink()
    with pytest.raises(DataError, match="cannot be used"):
        tiny().prepare(root, str(mirror))


DAMAGE = {
    "missing": (IMAGES, Path.unlink, None),
    "empty": (IMAGES, lambda path: path.write_bytes(b""), "not an IDX file"),
    "truncated": (IMAGES, lambda path: path.write_bytes(RAW[IMAGES][:-100]), "31276 bytes"),
    "wrong bytes": (IMAGES, flip_last_bit, "MD5"),
    "wrong labels": (LABELS, flip_last_bit, "MD5"),
    "not IDX": (IMAGES, lambda path: path.write_bytes(b"<" * len(RAW[IMAGES])), "not an IDX file"),
    "other size": (LABELS, lambda path: path.write_bytes(idx(np.zeros(9, np.uint8))), r"\(9,\)"),
    "label out of range": (LABELS, lambda path: path.write_bytes(ELEVENTH), "label 10 among 10"),
    "other kind": (LABELS, lambda path: path.write_bytes(RAW[IMAGES]), r"\(40, 28, 28\)"),
}


@pytest.mark.parametrize(("name", "damage", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_noticed_named_and_repaired(mirror, root, messages, name, damage, reason):
    tiny().prepare(root, str(mirror))
    path = root / "tiny" / name
    damage(path)
    assert not path.exists() or path.read_bytes() != RAW[name]
    before = len(messages())
    tiny().prepare(root, str(mirror))
    assert_complete(root)
    *notice, download = messages()[before:]
    assert download == f"Downloading {(mirror / name).as_uri()}.gz"
    if reason is None:
        assert notice == []
    else:
        (notice,) = notice
        assert notice.startswith(f"{path} is damaged")
        assert re.search(reason, notice)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_bytes_are_noticed_by_a_published_sum(mirror, root, name):
    source = tiny()
    source.md5_extracted = {name: md5(raw) for name, raw in RAW.items()}
    write(root / "tiny", RAW)
    flip_last_bit(root / "tiny" / name)
    source.prepare(root, str(mirror))
    assert_complete(root)
    assert left_over(root) == sorted(NAMES)


@pytest.mark.parametrize("noted", [b"0" * 32 + b"\n", b"\xff\xfe"])
def test_a_damaged_note_of_the_sum_is_repaired(mirror, root, noted):
    tiny().prepare(root, str(mirror))
    (root / "tiny" / f"{IMAGES}.md5").write_bytes(noted)
    tiny().prepare(root, str(mirror))
    assert_complete(root)
    flip_last_bit(root / "tiny" / IMAGES)
    tiny().prepare(root, str(mirror))
    assert_complete(root)


def test_remains_of_a_killed_process_do_no_harm(mirror, root):
    left = f".mnist_lab-{'0f' * 8}.part"
    write(root / "tiny", {left: b"half", ".lock": b""})
    tiny().prepare(root, str(mirror))
    assert_complete(root)
    assert not (root / "tiny" / left).exists()


def test_files_of_others_beside_the_archives_stay(mirror, root):
    mine = {f"{IMAGES}.gz.part": b"mine", f"{IMAGES}.part": b"mine", ".notes.part": b"mine"}
    write(root / "tiny", mine)
    tiny().prepare(root, str(mirror))
    for name, content in mine.items():
        path = root / "tiny" / name
        assert path.read_bytes() == content
        path.unlink()
    assert_complete(root)


@pytest.mark.parametrize("split", ["train", "test"])
def test_reading_what_was_never_prepared(root, split):
    with pytest.raises(DataError, match={"train": "train", "test": "t10k"}[split]):
        tiny().read(root, split)


def test_digits_are_scikit_learns_each_once():
    from scipy.ndimage import zoom
    from scipy.spatial.distance import cdist
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    enlarged = zoom(
        pixels.reshape(-1, 8, 8) * 255 / 16, (1, 2.5, 2.5), order=1, mode="nearest", grid_mode=True
    )
    expected = np.pad(enlarged, ((0, 0), (4, 4), (4, 4))).reshape(len(target), -1)

    source = Digits()
    parts = {split: source.read(Path("unused"), split) for split in ("train", "test")}
    images = torch.cat([parts["train"][0], parts["test"][0]])
    labels = torch.cat([parts["train"][1], parts["test"][1]])
    assert images.shape == (1797, 1, 28, 28)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    flat = images.flatten(1).double().numpy()
    nearest = cdist(flat, expected, "sqeuclidean").argmin(1)
    assert sorted(nearest) == list(range(1797))
    assert np.abs(flat - expected[nearest]).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(labels, target[nearest])

    assert {split: len(part[1]) for split, part in parts.items()} == {"train": 1437, "test": 360}
    assert source.sizes == {"train": 1437, "test": 360}
    shares = np.bincount(target) * 360 / 1797
    assert np.abs(np.bincount(parts["test"][1]) - shares).max() < 1
    # In the bundled order, within each split.
    assert (np.diff(nearest[:1437]) > 0).all()
    assert (np.diff(nearest[1437:]) > 0).all()


def test_a_mirror_of_several_datasets_has_a_folder_for_each(mirror, root, tmp_path):
    other = dict.fromkeys(ARCHIVES, b"another dataset's")
    several = write(tmp_path / "several", other)  # what lies there flat is another's
    shutil.copytree(mirror, several / "tiny")
    tiny().prepare(root, str(several))
    images, _ = tiny().read(root, "train")
    tiny().prepare(tmp_path / "flat", str(mirror))
    assert images.equal(tiny().read(tmp_path / "flat", "train")[0])

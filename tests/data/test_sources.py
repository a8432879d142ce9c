"""Files are verified, fetched and repaired; what cannot be had is said in words."""

import functools
import gzip
import hashlib
import http.server
import multiprocessing
import re
import resource
import shutil
import socket
import struct
import threading
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from filelock import FileLock
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mnist_lab.data import DataError, Digits, IDXSource, sources
from mnist_lab.data.idx import read_idx

CONF = Path(__file__).resolve().parents[2] / "conf"
RANDOM = np.random.RandomState(0)
SIZES = {"train": 40, "test": 10}
ARRAYS = {
    "train-images-idx3-ubyte": RANDOM.randint(256, size=(40, 28, 28)).astype(np.uint8),
    "train-labels-idx1-ubyte": RANDOM.permutation(np.arange(40) % 10).astype(np.uint8),
    "t10k-images-idx3-ubyte": RANDOM.randint(256, size=(10, 28, 28)).astype(np.uint8),
    "t10k-labels-idx1-ubyte": RANDOM.permutation(np.arange(10)).astype(np.uint8),
}
NAMES = list(ARRAYS)


def idx(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def md5(content):
    return hashlib.md5(content).hexdigest()


RAW = {name: idx(array) for name, array in ARRAYS.items()}
ARCHIVES = {f"{name}.gz": gzip.compress(raw, mtime=0) for name, raw in RAW.items()}
MD5 = {archive: md5(content) for archive, content in ARCHIVES.items()}


def tiny(*urls, archives=ARCHIVES):
    """A dataset that differs from Fashion-MNIST and KMNIST in its sizes alone."""
    sums = {archive: md5(content) for archive, content in archives.items()}
    return IDXSource("tiny", list("abcdefghij"), SIZES, list(urls), sums)


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def mirror(tmp_path):
    """A folder of good archives, under a name that a careless URL would garble."""
    return write(tmp_path / "a mirror #1 %41", ARCHIVES)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")  # no proxy knows this machine's loopback


@pytest.fixture
def messages(caplog):
    caplog.set_level("INFO", logger="mnist_lab")
    return lambda: [record.getMessage() for record in caplog.records]


@contextmanager
def serving(files, keep=1.0, delay=0.0):
    """An HTTP server on loopback, which sends the first `keep` of each file it announces."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.lstrip("/")
            asked.append(name)
            time.sleep(delay)
            if name not in files:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(files[name])))
            self.end_headers()
            self.wfile.write(files[name][: int(keep * len(files[name]))])

        def log_message(self, *args):
            pass

    asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def closed_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


@contextmanager
def largest_file(size):
    """The operating system lets no file grow beyond `size`, as if the disk were full then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def assert_complete(root):
    for name, raw in RAW.items():
        assert (root / "tiny" / name).read_bytes() == raw
    assert not list(root.rglob("*.part"))


def left_over(root):
    return sorted(path.name for path in (root / "tiny").iterdir() if path.name != ".lock")


# IDX files


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_idx_round_trip(tmp_path_factory, array):
    path = tmp_path_factory.getbasetemp() / "round_trip"
    path.write_bytes(idx(array))
    np.testing.assert_array_equal(read_idx(path), array, strict=True)


@given(st.binary(max_size=40).flatmap(lambda b: st.sampled_from([b, b"\0\0\x08\1" + b])))
def test_any_bytes_are_read_exactly_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any_bytes"
    path.write_bytes(content)
    try:
        array = read_idx(path)
    except DataError:
        return
    assert idx(array) == content


@pytest.mark.parametrize("shape", [(2**31, 28, 28), (2**31,), (2**32 - 1,) * 4])
def test_header_that_claims_too_much_is_refused_without_allocating(tmp_path, shape):
    path = tmp_path / "huge"
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    path.write_bytes(header + bytes(100))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=f"{len(header) + 100} bytes"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"<html>404 not found</html>",
        b"\0\0\x0d\1" + struct.pack(">I", 4) + bytes(4),  # an IDX file of floats
        b"\0\1\x08\1" + struct.pack(">I", 4) + bytes(4),  # the first two bytes are always 0
        b"\0\0\x08\0" + bytes(1),  # no dimensions
        b"\0\0\x08\3" + struct.pack(">2I", 1, 1),  # two lengths for three dimensions
        idx(np.zeros(5, np.uint8))[:-1],
        idx(np.zeros(5, np.uint8)) + b"\0",
    ],
)
def test_what_is_not_idx_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)):
        read_idx(path)


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


def test_only_mnist_has_published_sums_of_extracted_files():
    names = [archive.removesuffix(".gz") for archive in configured("mnist").source.md5]
    assert list(configured("mnist").source.md5_extracted) == names
    for name in ("fashion_mnist", "kmnist"):
        assert instantiate(configured(name).source, _convert_="all").md5_extracted is None


# Fetching


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


def flip_last_bit(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


IMAGES, LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
ELEVENTH = idx(np.where(ARRAYS[LABELS] == 9, 10, ARRAYS[LABELS]).astype(np.uint8))
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


def test_an_archive_with_another_md5_is_refused(root):
    # Right in every respect that could be checked without the sum.
    other = gzip.compress(idx(255 - ARRAYS[IMAGES]))
    with serving(ARCHIVES | {f"{IMAGES}.gz": other}) as (url, asked):
        with pytest.raises(DataError, match=f"{len(other)} bytes .* MD5"):
            tiny().prepare(root, url)
        assert asked == [f"tiny/{IMAGES}.gz", f"{IMAGES}.gz"]
    assert left_over(root) == []


def test_what_came_before_a_bad_archive_is_kept(mirror, root):
    (mirror / f"{LABELS}.gz").write_bytes(b"bad")
    with pytest.raises(DataError, match=LABELS):
        tiny().prepare(root, str(mirror))
    assert left_over(root) == sorted(NAMES[:3] + [f"{name}.md5" for name in NAMES[:3]])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"no gzip", id="no gzip"),
        pytest.param(ARCHIVES[f"{IMAGES}.gz"][:-9], id="ends early"),
        pytest.param(ARCHIVES[f"{IMAGES}.gz"][:20] + b"\xff" * 1000, id="garbled"),
        pytest.param(gzip.compress(b"no IDX"), id="no IDX"),
        pytest.param(gzip.compress(RAW[LABELS]), id="other file"),
    ],
)
def test_an_archive_that_is_bad_in_spite_of_its_md5_is_refused(root, content):
    archives = ARCHIVES | {f"{IMAGES}.gz": content}
    with serving(archives) as (url, _), pytest.raises(DataError):
        tiny(archives=archives).prepare(root, url)
    assert left_over(root) == []


def test_labels_out_of_range_are_refused_in_spite_of_their_md5(root):
    archives = ARCHIVES | {f"{LABELS}.gz": gzip.compress(ELEVENTH)}
    with serving(archives) as (url, _), pytest.raises(DataError, match="label 10 among 10"):
        tiny(archives=archives).prepare(root, url)
    assert LABELS not in left_over(root)


def test_a_bomb_is_never_extracted(root):
    bomb = gzip.compress(bytes(2**24))
    # Had a byte of it been extracted, the limit would be what the error speaks of.
    with (
        serving(ARCHIVES | {f"{IMAGES}.gz": bomb}) as (url, _),
        largest_file(2**20),
        pytest.raises(DataError, match="another MD5"),
    ):
        tiny().prepare(root, url)
    assert left_over(root) == []


@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_download_cut_short_leaves_nothing_and_can_be_repeated(root, keep):
    with serving(ARCHIVES, keep) as (url, _), pytest.raises(DataError, match=url):
        tiny(url).prepare(root, None)
    assert left_over(root) == []
    with serving(ARCHIVES) as (url, _):
        tiny(url).prepare(root, None)
    assert_complete(root)


def test_bad_addresses_are_passed_over(tmp_path, root):
    garbage = dict.fromkeys(ARCHIVES, b"garbage")
    with (
        serving({}) as (empty, asked_empty),
        serving(garbage) as (bad, asked_bad),
        serving(ARCHIVES, 0.9) as (cut, asked_cut),
        serving(ARCHIVES) as (good, asked_good),
        serving(ARCHIVES) as (spare, asked_spare),
    ):
        odd = ["nonsense://", "no address", "http://127.0.0.1:port", "http://127.0.0.1/a b"]
        addresses = [*odd, closed_port(), empty, bad, cut, good, spare]
        tiny(*addresses).prepare(root, str(tmp_path / "no such folder"))
    assert asked_empty == asked_bad == asked_cut == asked_good == list(ARCHIVES)
    assert asked_spare == []
    assert_complete(root)


def test_what_cannot_be_had_is_said_with_the_ways_out(tmp_path, root):
    mirror = tmp_path / "no such folder"
    with serving({}) as (url, _):
        urls = [closed_port(), url, "file:///no/such/folder/"]
        with pytest.raises(DataError) as caught:
            tiny(*urls).prepare(root, str(mirror))
    tried = [line for line in str(caught.value).splitlines() if line.startswith("  ")]
    addresses = [f"{mirror.as_uri()}/tiny", mirror.as_uri(), *urls]
    assert len(tried) == len(addresses)
    for line, address in zip(tried, addresses, strict=True):
        start = f"  {address.rstrip('/')}/{IMAGES}.gz: "
        assert line.startswith(start)
        assert len(line) > len(start)  # the reason
    assert "MNIST_LAB_MIRROR" in str(caught.value)
    assert "data=digits" in str(caught.value)
    assert left_over(root) == []


@pytest.mark.parametrize(
    ("in_the_way", "kind"),
    [
        (".", "file"),
        ("..", "file"),
        ("tiny", "file"),
        ("tiny/.lock", "folder"),
        (f"tiny/{IMAGES}", "folder"),
        (f"tiny/{IMAGES}.md5", "folder"),
    ],
)
def test_a_root_that_cannot_be_written_is_named(mirror, tmp_path, in_the_way, kind):
    root = tmp_path / "above" / "root"
    path = (root / in_the_way).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch() if kind == "file" else path.mkdir()
    with pytest.raises(DataError, match=str(root)):
        tiny().prepare(root, str(mirror))


def test_a_full_disk_is_no_fault_of_the_mirror(root):
    with (
        serving(ARCHIVES) as (url, asked),
        serving(ARCHIVES) as (spare, asked_spare),
        largest_file(1000),
        pytest.raises(DataError, match=str(root)),
    ):
        tiny(url, spare).prepare(root, None)
    assert asked == [f"{IMAGES}.gz"]
    assert asked_spare == []
    assert left_over(root) == []


@pytest.mark.parametrize("split", ["train", "test"])
def test_reading_what_was_never_prepared(root, split):
    with pytest.raises(DataError, match={"train": "train", "test": "t10k"}[split]):
        tiny().read(root, split)


def test_processes_that_start_together_download_once(root):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mnist_lab.data"])  # imports torch once, not in each
    # The delay lets the others arrive while the first is still at work.
    with serving(ARCHIVES, delay=0.1) as (url, asked):
        processes = [
            context.Process(target=tiny(url).prepare, args=(root, None), daemon=True)
            for _ in range(3)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
    assert [process.exitcode for process in processes] == [0] * 3
    assert asked == list(ARCHIVES)
    assert_complete(root)


def test_a_lock_that_is_never_released_is_named(mirror, root, monkeypatch):
    monkeypatch.setattr(sources, "LOCK_SECONDS", 0.1)
    held, done = threading.Event(), threading.Event()

    def hold():
        with FileLock(root / "tiny" / ".lock"):
            held.set()
            done.wait()

    write(root / "tiny", {})
    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(60)
        with pytest.raises(DataError, match="lock") as caught:
            tiny().prepare(root, str(mirror))
    finally:
        done.set()
        thread.join()
    assert str(root / "tiny") in str(caught.value)
    tiny().prepare(root, str(mirror))
    assert_complete(root)


# The bundled digits


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

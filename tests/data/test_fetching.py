"""Bad archives, addresses, disks and other processes: what cannot be had is said in words."""

import gzip
import multiprocessing
import threading

import pytest
from filelock import FileLock

from mnist_lab.data import DataError, sources
from tests.data.archives import (
    ARCHIVES,
    ARRAYS,
    ELEVENTH,
    IMAGES,
    LABELS,
    NAMES,
    RAW,
    assert_complete,
    closed_port,
    idx,
    largest_file,
    left_over,
    serving,
    tiny,
    write,
)


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

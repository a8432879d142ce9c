"""Disks that fill up, turn read-only or vanish: one line, and the last checkpoint is whole."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from mnist_lab import models
from mnist_lab.system.files import whole
from tests.forked import call, fork

LONG = ["data=digits", "trainer.max_epochs=3000", "trainer.callbacks.early_stopping=null"]


@pytest.fixture
def disk(mounted, tmp_path):
    """A file system of 12 MB of its own."""
    return mounted(tmp_path / "disk", "12m")


def running(folder, tmp_path):
    """A run in the folder that has written its first checkpoints."""
    with open(os.devnull) as nothing, open(tmp_path / "output", "w") as output:
        streams = [each.fileno() for each in (nothing, output, output)]
        process = fork("mnist_lab.train", *LONG, f"hydra.run.dir={folder}",
                       streams=streams, folder=tmp_path, **os.environ)  # fmt: skip
    while not (folder / "checkpoints/last.ckpt").exists():
        assert process.is_alive(), (tmp_path / "output").read_text()
        time.sleep(0.05)
    return process


def told(process, tmp_path):
    """The lines after the last epoch's, of a process that fails."""
    process.join(120)
    output = (tmp_path / "output").read_text()
    assert process.exitcode == 1, output
    assert "Traceback" not in output, output
    return [x for x in output.splitlines() if "cannot be written to" in x]


def assert_whole(folder):
    for name in ("last", "best"):
        models.load(folder / "checkpoints" / f"{name}.ckpt")
    assert not list(folder.rglob("*.part"))


def test_full_disk(disk, start, tmp_path):
    folder = disk / "run"
    process = running(folder, tmp_path)
    with open(disk / "filler", "wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                break
    assert len(told(process, tmp_path)) == 1
    assert_whole(folder)
    (disk / "filler").unlink()
    step = models.read(folder / "checkpoints/last.ckpt")["global_step"]
    again = start(f"resume={folder}")
    end = time.monotonic() + 120
    while models.read(folder / "checkpoints/last.ckpt")["global_step"] <= step:
        assert again.is_alive()
        assert time.monotonic() < end
        time.sleep(0.2)
    again.kill()
    again.join()


def test_read_only_folder(tmp_path):
    """Immutable, since the superuser may write to what is only marked read-only."""
    folder = tmp_path / "run"
    process = running(folder, tmp_path)
    checkpoints = str(folder / "checkpoints")
    if subprocess.run(["chattr", "+i", checkpoints], capture_output=True).returncode:
        process.kill()
        process.join()
        pytest.skip("folders cannot be made immutable here")
    try:
        assert len(told(process, tmp_path)) == 1
    finally:
        subprocess.run(["chattr", "-i", checkpoints], check=True)
    assert_whole(folder)


def test_a_run_cannot_begin_where_nothing_can_be_written(disk, tmp_path):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    status, _, err = call("mnist_lab.train", f"hydra.run.dir={disk}/run", folder=tmp_path)
    assert status == 1
    assert "Read-only file system" in err
    assert len(err.splitlines()) == 1


def test_vanished_folder(tmp_path):
    folder = tmp_path / "run"
    process = running(folder, tmp_path)
    folder.rename(tmp_path / "elsewhere")  # at once, whatever is being written
    assert len(told(process, tmp_path)) == 1
    assert not (folder / "checkpoints").exists()


def test_size_limit_on_the_process(tmp_path):
    """As a quota does it: the file is refused when it is half written."""
    (tmp_path / "limited.py").write_text(
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "from mnist_lab import train\n"
        "from mnist_lab.cli import command\n"
        "sys.argv = ['train', *sys.argv[1:], 'hydra.job.name=train']\n"
        "command.run(train.main)\n"
    )
    arguments = ["data=digits", "hydra.run.dir=run"]
    status, _, err = call(tmp_path / "limited.py", *arguments, folder=tmp_path)
    assert status == 1
    assert "cannot be written to: [Errno 27] File too large" in err
    assert "Traceback" not in err
    assert not list((tmp_path / "run").rglob("*.ckpt*"))


def test_whole_names_a_file_once_it_is_on_the_disk_and_then_its_name_is(tmp_path, monkeypatch):
    done = []

    def noted(name):
        action = getattr(os, name)

        def call(what, *to):
            about = os.fstat(what) if name == "fsync" else Path(what).stat()
            done.append((name, about.st_ino, about.st_size))
            return action(what, *to)

        monkeypatch.setattr(os, name, call)

    noted("fsync")
    noted("replace")
    with whole(tmp_path / "file") as file:
        file.write("content")
    written = (tmp_path / "file").stat()
    assert done[:2] == [(name, written.st_ino, 7) for name in ("fsync", "replace")]
    assert [name for name, *_ in done] == ["fsync", "replace", "fsync"]
    assert done[2][1] == tmp_path.stat().st_ino


def test_whole_keeps_the_previous_file_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    writing = whole(path)
    file = writing.__enter__()
    file.write("half")
    file.flush()
    assert path.read_text() == "before"
    with pytest.raises(RuntimeError, match="stop"):
        writing.gen.throw(RuntimeError("stop"))
    assert path.read_text() == "before"
    with whole(path) as file:
        file.write("after")
    assert path.read_text() == "after"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]

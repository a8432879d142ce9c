"""What the tests of hostile files share: files to write, refusals, a process to be refused in."""

import hashlib
import io
import os
import resource
import signal
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml

from mnist_lab import LabError, models
from mnist_lab.models import MLP

ALLOWED_MEGABYTES = 100


def refused(path: Path, **options) -> str:
    """The one line with which it is not loaded, but for the file's name, with which it begins."""
    with pytest.raises(LabError) as caught:
        models.load(path, **options)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


class Outcome(NamedTuple):
    told: str
    megabytes: float
    seconds: float


def apart(action, *arguments, seconds: int = 5, room: int = 2 << 30) -> Outcome:
    """What comes of it in a process of its own: there a hang ends, and memory can be measured."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (taken + room, taken + room))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            try:
                action(*arguments)
                told = "accepted"
            except Exception as error:
                kind = "" if isinstance(error, LabError) else "another error: "
                told = f"{kind}{type(error).__name__}: {error}"
            more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            os.write(writing, f"{more / 1024} {told[:2000]}".encode(errors="replace"))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read().decode()
    _, status, usage = os.wait4(child, 0)
    if os.WIFSIGNALED(status):
        answer = f"0 ended by {signal.Signals(os.WTERMSIG(status)).name}"
    megabytes, _, told = answer.partition(" ")
    return Outcome(told, float(megabytes or 0), usage.ru_utime + usage.ru_stime)


def tiny() -> MLP:
    return MLP(hidden=[], image_size=1)


def content(model: models.Classifier | None = None, **parts) -> dict:
    """What the Trainer hands on to be written, but for the states of what isn't the model."""
    model = model or tiny()
    about = {"class": f"{type(model).__module__}.{type(model).__name__}", "metrics": {}}
    return {
        "epoch": 0,
        "global_step": 1,
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "mnist_lab": {**about, "data": None, "tally": []},
    } | parts


def archive(saved: dict) -> bytes:
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    return buffer.getvalue()


def sealed(data: bytes) -> bytes:
    return data + b"sha256:" + hashlib.sha256(data).hexdigest().encode()


def put(folder: Path, data: bytes) -> Path:
    path = folder / "some.ckpt"
    path.write_bytes(data)
    return path


def change(run_folder: Path, key: str, value) -> None:
    """Put the value into `config.yaml`."""
    path = run_folder / "config.yaml"
    stored = yaml.safe_load(path.read_text())
    *groups, name = key.split(".")
    group = stored
    for each in groups:
        group = group[each]
    group[name] = value
    path.write_text(yaml.safe_dump(stored, sort_keys=False))


def told_by(called) -> str:
    """The one line of a command that did nothing else."""
    assert called.status == 1
    lines = called.err.splitlines()
    assert len(lines) == 1
    return lines[0]

"""What commands print, where it can't be printed, and on terminals: real processes."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from tempfile import TemporaryFile

import numpy as np
import pytest

from tests.forked import fork
from tests.terminal import on_terminal

# The page is told of at the end, with or without pictures in it.
RUN = ["data=digits", "trainer.max_epochs=1", "trainer.callbacks.dashboard=null",
       "trainer.callbacks.figures=null"]  # fmt: skip
LONG = "a-name-for-the-folder-of-a-run-that-is-longer-than-a-line-of-a-terminal-has-columns"


def read_by(reader, name, *arguments, folder):
    """Exit status and errors of a command, `reader(output, process)` of which closes the output."""
    ours, theirs = os.pipe()
    with open(os.devnull) as nothing, TemporaryFile("w+") as errors:
        streams = [nothing.fileno(), theirs, errors.fileno()]
        process = fork(
            f"mnist_lab.{name}", *arguments, streams=streams, folder=folder, **os.environ
        )
        os.close(theirs)
        with open(ours) as output:
            reader(output, process)
        process.join()
        errors.seek(0)
        return process.exitcode, errors.read()


def without_reader(name, *arguments, folder):
    """Likewise of `... | head -1`."""
    return read_by(lambda output, _: output.readline(), name, *arguments, folder=folder)


def redirected(name, *arguments, to, folder):
    """Likewise where streams go to other places, or are closed (None), as by a shell's `>&-`."""
    errors = folder / "errors.txt"
    places = {"in": os.devnull, "out": os.devnull, "errors": errors} | to
    with contextlib.ExitStack() as stack:
        files = [place and stack.enter_context(open(place, "a+")) for place in places.values()]
        streams = [each and each.fileno() for each in files]
        process = fork(
            f"mnist_lab.{name}", *arguments, streams=streams, folder=folder, **os.environ
        )
        process.join()
    return process.exitcode, errors.read_text() if to.get("errors", errors) == errors else ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where `outputs/run` was made by a command whose reader went away after a line."""
    folder = tmp_path_factory.mktemp("console")
    status, errors = without_reader("train", *RUN, "hydra.run.dir=outputs/run", folder=folder)
    assert (status, errors) == (0, "")
    np.save(
        folder / "x.npy", np.random.RandomState(0).randint(256, size=(5, 28, 28), dtype=np.uint8)
    )
    return folder


def test_a_run_goes_on_without_its_reader_and_keeps_its_log(folder):
    assert (folder / "outputs/run/result.json").exists()
    log = (folder / "outputs/run/train.log").read_text()
    assert "epoch 1/1" in log
    assert log.splitlines()[-1].endswith(str(folder / "outputs/run/report.html"))


@pytest.mark.parametrize(
    "name, to, arguments, made",  # noqa: PT006
    [
        ("evaluate", {"out": None}, ["checkpoint=outputs/run", "output=a"], "a/evaluation.json"),
        (
            "predict",
            {"out": "/dev/full", "errors": None},
            ["checkpoint=outputs/run", "input=x.npy"],
            "predictions.csv",
        ),
    ],
)
def test_neither_is_another_command_ended_by_what_it_prints(name, to, arguments, made, folder):
    status, errors = redirected(name, *arguments, to=to, folder=folder)
    assert (status, errors) == (0, "")
    assert (folder / made).exists()


def test_a_comparison_goes_on_without_its_reader(folder):
    comparison = ["runs=outputs/run", "output=b"]
    assert without_reader("compare", *comparison, folder=folder) == (0, "")
    assert (folder / "b/compare.html").exists()


NO_STREAM = {"in": None, "out": None, "errors": None}


@pytest.mark.parametrize("to", [{"out": None}, {"out": "/dev/full"}, NO_STREAM])
def test_a_run_without_a_standard_output(to, tmp_path):
    status, errors = redirected("train", *RUN, "hydra.run.dir=run", to=to, folder=tmp_path)
    assert status == 0
    assert errors == ("standard output: No space left on device\n" if to["out"] else "")
    assert "epoch 1/1" in (tmp_path / "run/train.log").read_text()
    assert (tmp_path / "run/result.json").exists()


def test_a_run_that_is_stopped_together_with_its_reader_ends_as_told(tmp_path):
    def reader(output, process):
        while "epoch 1/500" not in output.readline():
            pass
        output.close()  # as `tee` does, which Ctrl-C ends
        os.kill(process.pid, signal.SIGINT)

    long = [*RUN, "trainer.max_epochs=500", "hydra.run.dir=run"]
    status, errors = read_by(reader, "train", *long, folder=tmp_path)
    assert status == 130
    assert "Traceback" not in errors
    assert "Logging error" not in errors
    assert "Stopped by SIGINT" in (tmp_path / "run/train.log").read_text()
    assert (tmp_path / "run/checkpoints/last.ckpt").exists()


def by_shell(to, *arguments, folder):
    """Exit status and errors of `python -m mnist_lab.train ARGUMENTS`, redirected by a shell."""
    command = [sys.executable, "-m", "mnist_lab.train", *arguments]
    line = ["sh", "-c", f'"$@" {to}', "sh", *command]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("to", "arguments"),
    [
        ("| head -1", ["--cfg", "job"]),
        (">&-", ["--help"]),
        (">&- 2>&- <&-", [*RUN, "hydra.run.dir=run"]),
        (">/dev/null", [*RUN, "hydra.run.dir=run"]),  # at its very end, too
    ],
)
def test_a_shell_does_the_same(to, arguments, tmp_path):
    assert by_shell(to, *arguments, folder=tmp_path) == (0, "")
    assert (tmp_path / "run/result.json").exists() == ("hydra.run.dir=run" in arguments)


def shown(output):
    """The lines that stand on the terminal in the end, however wide it is."""
    lines, row, column = [""], 0, 0
    for part in re.split(r"(\n|\r|\x1b\[[0-?]*[ -/]*[@-~])", output):
        upwards = re.fullmatch(r"\x1b\[(\d*)A", part)
        if part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row == len(lines))
        elif part == "\r":
            column = 0
        elif part == "\x1b[2K":
            lines[row] = ""
        elif upwards:
            row -= int(upwards[1] or 1)
        elif not part.startswith("\x1b["):
            lines[row] = lines[row][:column] + part + lines[row][column + len(part) :]
            column += len(part)
    return lines


@pytest.mark.parametrize(
    "columns, environment",  # noqa: PT006
    [(80, {}), (140, {}), (80, {"NO_COLOR": "1"}), (80, {"TERM": "dumb"})],
)
def test_a_run_on_a_terminal(columns, environment, tmp_path):
    status, output = on_terminal(
        "mnist_lab.train",
        *RUN,
        f"hydra.run.dir=outputs/{LONG}",
        columns=columns,
        folder=tmp_path,
        **environment,
    )
    assert status == 0
    run = tmp_path / "outputs" / LONG
    log = (run / "train.log").read_text()
    first, *lines = shown(output)
    assert first == "Loading PyTorch and Lightning ..."  # before there is a log
    assert "\x1b" not in log
    assert not any(re.search(r"\[[0-9;]*m", line) for line in [*lines, *log.splitlines()])
    if environment:
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", output)  # no colours
    # What was logged stands there, line by line, whatever its length.
    logged = [re.sub(r"^\[[^]]+,\d+\] ", "", line) for line in log.splitlines()]
    assert [line for line in lines if line.strip()] == [line for line in logged if line.strip()]
    assert f"Report:       {run}/report.html" in lines
    short = [line for line in lines if str(run) not in line]
    assert max(map(len, short)) <= 80


@pytest.mark.parametrize("columns", [80, 140])
def test_other_commands_on_a_terminal(columns, folder):
    status, output = on_terminal(
        "mnist_lab.evaluate",
        "checkpoint=outputs/run",
        f"output={LONG}{columns}",
        columns=columns,
        folder=folder,
    )
    assert status == 0, output
    lines = shown(output)
    assert f"Evaluation: {LONG}{columns}" in lines
    assert max(len(line) for line in lines if LONG not in line) <= columns
    (folder / "outputs" / LONG).mkdir(exist_ok=True)
    (folder / "outputs" / LONG / "config.yaml").touch()
    status, output = on_terminal(
        "mnist_lab.compare",
        "runs=outputs",
        f"output=c/{LONG}",
        columns=columns,
        folder=folder,
    )
    assert status == 0, output
    lines = shown(output)
    assert any(line.startswith(f"- outputs/{LONG}: ") for line in lines)
    assert any(f" files in c/{LONG}: compare.html" in line for line in lines)
    assert max(len(line) for line in lines if LONG not in line) <= columns

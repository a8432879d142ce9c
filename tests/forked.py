"""Commands in processes of their own, forked from one that has the slow imports behind it.

For all but those that start others by joblib: these end with the interpreter, which such a process
does not.
"""

import gc
import multiprocessing
import os
import runpy
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryFile

CONTEXT = multiprocessing.get_context("forkserver")
# What commands import late, too, but the commands themselves.
CONTEXT.set_forkserver_preload(
    [
        *("mnist_lab.cli.sweeps", "mnist_lab.training.configured", "mnist_lab.reports.callbacks"),
        *("mnist_lab.reports.dashboard", "mnist_lab.reports.evaluations"),
        *("torch.utils.tensorboard", "sklearn.datasets"),
    ]
)


def fork(
    program: str | Path,
    *arguments: str,
    streams: Sequence[int | None],
    folder: Path,
    **environment: str,
):
    """A process that does what `python -m PROGRAM ARGUMENTS` does once Python has started.

    Args:
        program: a module's name, or a script's path.
        streams: its standard streams, of which it has copies; None: it has none, as by `>&-`.
        environment: of which PYTHONPATH has an effect on what of ours is imported.
    """
    given = [None if each is None else Connection(os.dup(each)) for each in streams]
    process = CONTEXT.Process(target=_run, args=(program, arguments, given, folder, environment))
    process.start()
    for each in given:
        if each is not None:
            each.close()
    return process


def call(
    program: str | Path, *arguments: str, folder: Path, **environment: str
) -> tuple[int | None, str, str]:
    """Exit status, output and errors of such a process, which has these variables, too."""
    environment = {**os.environ, **environment}
    with open(os.devnull) as nothing, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        streams = [each.fileno() for each in (nothing, out, err)]
        process = fork(program, *arguments, streams=streams, folder=folder, **environment)
        process.join()
        out.seek(0)
        err.seek(0)
        return process.exitcode, out.read(), err.read()


def _run(program, arguments, streams, folder, environment):
    gc.freeze()
    for number, each in enumerate(streams):
        if each is None:
            os.close(number)
            continue
        os.dup2(each.fileno(), number)
        each.close()
    sys.stdin, sys.stdout, sys.stderr = (
        each and open(number, mode, closefd=False, buffering=buffering)  # noqa: SIM115  # to its end
        for each, (number, mode, buffering) in zip(
            streams, ((0, "r", -1), (1, "w", -1), (2, "w", 1)), strict=True
        )
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    if "PYTHONPATH" in environment and environment["PYTHONPATH"] != os.environ.get("PYTHONPATH"):
        sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
        for name in [*sys.modules]:  # which are from elsewhere
            if name.partition(".")[0] == "mnist_lab":
                del sys.modules[name]
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [str(program), *arguments]
    if isinstance(program, Path):
        runpy.run_path(str(program), run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)

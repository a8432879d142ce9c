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


def fork(module: str, *arguments: str, streams: Sequence[int], folder: Path, **environment: str):
    """A process that does what `python -m module ARGUMENTS` does once Python has started.

    Its standard streams are these, of which it has copies.
    """
    given = [Connection(os.dup(each)) for each in streams]
    process = CONTEXT.Process(target=_run, args=(module, arguments, given, folder, environment))
    process.start()
    for each in given:
        each.close()
    return process


def call(module: str, *arguments: str, folder: Path) -> tuple[int | None, str, str]:
    """Exit status, output and errors of such a process."""
    with open(os.devnull) as nothing, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        streams = [each.fileno() for each in (nothing, out, err)]
        process = fork(module, *arguments, streams=streams, folder=folder, **os.environ)
        process.join()
        out.seek(0)
        err.seek(0)
        return process.exitcode, out.read(), err.read()


def _run(module, arguments, streams, folder, environment):
    gc.freeze()
    for number, each in enumerate(streams):
        os.dup2(each.fileno(), number)
        each.close()
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, closefd=False, buffering=buffering)  # noqa: SIM115  # to its end
        for number, mode, buffering in ((0, "r", -1), (1, "w", -1), (2, "w", 1))
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)

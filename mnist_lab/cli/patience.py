"""`sweep_patience`: a sweep whose first jobs all fail with the same error starts no more of them.

What is known of it lies in the sweep's folder: its jobs may run on other machines.

Imports nothing heavy.
"""

from pathlib import Path

from mnist_lab import LabError
from mnist_lab.cli.standings import REASON, RECORD
from mnist_lab.system.files import whole

KEY = "sweep_patience"
_MARK = "given_up.txt"


def check(patience: object) -> None:
    """Refuse what is no number of jobs.

    Raises:
        LabError: it is neither a whole number from 1 on nor null.
    """
    if patience is not None and (type(patience) is not int or patience < 1):
        raise LabError(f"{KEY}={patience}: must be a whole number from 1 on, or null")


def begin(sweep: Path) -> None:
    """Forget what jobs came to under earlier commands: it may have been mended since."""
    (sweep / _MARK).unlink(missing_ok=True)
    (sweep / RECORD).touch()  # by the same clock as what its jobs leave


def note_failure(sweep: Path, patience: int | None) -> None:
    """After a job has failed: give the sweep up, if no job of this command did anything else."""
    if patience is None:
        return
    errors: list[str] = []
    for folder in sweep.iterdir():
        if _is_new(folder / "result.json", sweep):
            return
        if _is_new(folder / REASON, sweep):
            reason = (folder / REASON).read_text(encoding="utf-8", errors="replace").strip()
            errors.append(reason.replace(str(folder), str(sweep / "*")))
    if len(errors) >= patience and len(set(errors)) == 1:
        with whole(sweep / _MARK) as file:
            file.write(
                f"{sweep}: its first {len(errors)} jobs failed with the same error, and no further "
                f"one is started ({KEY}={patience}): {errors[0]}\n"
            )


def given_up(sweep: Path) -> str | None:
    """What to tell of a sweep that has been given up; None of any other."""
    try:
        return (sweep / _MARK).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def _is_new(path: Path, sweep: Path) -> bool:
    """Whether a file is there, and was written since the command began."""
    try:
        return path.stat().st_mtime_ns > (sweep / RECORD).stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return False

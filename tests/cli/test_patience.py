"""When a sweep is given up, by what lies in its folder."""

import os

import pytest

from mnist_lab import LabError
from mnist_lab.cli import patience


@pytest.fixture
def sweep(tmp_path):
    """Of a command that began a second ago, and an earlier one that had failures."""
    folder = tmp_path / "s"
    fail(folder, "old", "no disk")
    (folder / "sweep.json").write_text("{}")
    patience.begin(folder)
    moment = (folder / "sweep.json").stat().st_mtime - 1
    os.utime(folder / "sweep.json", (moment, moment))
    os.utime(folder / "old/failed.txt", (moment - 1, moment - 1))
    return folder


def fail(sweep, name, reason):
    (sweep / name).mkdir(parents=True)
    (sweep / name / "failed.txt").write_text(f"{reason}\n")


def test_three_equal_failures_are_enough_and_none_before_the_command_counts(sweep):
    for count in range(3):
        assert patience.given_up(sweep) is None
        fail(sweep, f"job{count}", f"{sweep}/job{count}/x: no disk")
        patience.note_failure(sweep, 3)
    assert patience.given_up(sweep) == (
        f"{sweep}: its first 3 jobs failed with the same error, and no further one is started "
        f"(sweep_patience=3): {sweep}/*/x: no disk"
    )
    patience.begin(sweep)
    assert patience.given_up(sweep) is None


@pytest.mark.parametrize(
    ("reasons", "finished", "limit"),
    [(["a", "a", "b"], False, 3), (["a", "a", "a"], True, 3), (["a", "a", "a"], False, None)],
)
def test_it_goes_on_while_jobs_come_to_different_ends(reasons, finished, limit, sweep):
    for count, reason in enumerate(reasons):
        fail(sweep, f"job{count}", reason)
    if finished:
        (sweep / "done").mkdir()
        (sweep / "done/result.json").write_text("{}")
    patience.note_failure(sweep, limit)
    assert patience.given_up(sweep) is None


@pytest.mark.parametrize("given", [0, -1, 2.5, True, "x"])
def test_what_is_no_patience(given):
    with pytest.raises(LabError, match=f"sweep_patience={given}: must be a whole number"):
        patience.check(given)
    patience.check(None)
    patience.check(1)

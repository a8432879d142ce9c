"""What docs/scaling.md computes of more workers."""

import pytest

from benchmarks.scaling import finished


@pytest.mark.parametrize(
    ("durations", "workers", "start", "seconds"),
    [
        ([3, 3, 3], 1, 1, 12),
        ([3, 3, 3], 2, 1, 8),
        ([3, 3, 3], 5, 1, 4),
        ([1, 1, 9], 2, 0, 10),  # the long one comes last: after 1 s, when a worker is free
        ([9, 1, 1], 2, 0, 9),
    ],
)
def test_each_free_worker_takes_the_next_job(durations, workers, start, seconds):
    assert finished(durations, workers, start) == seconds

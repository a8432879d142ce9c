"""Curves of groups, against numpy; and which runs are not among them."""

import numpy as np
import pytest
from scipy import stats

from mnist_lab.comparison.histories import curves


def test_a_curve_has_a_mean_and_its_band_as_far_as_all_runs_went(write_run, read_table):
    losses = [[0.9, 0.5, 0.4], [0.8, 0.6], [0.7, 0.7, 0.1]]
    for seed, column in enumerate(losses):
        rows = [f"{epoch},{loss},{loss / 3}" for epoch, loss in enumerate(column)]
        text = "\n".join(["epoch,val/accuracy,train/loss", *rows, ""])
        (write_run(f"a{seed}", seed=seed) / "metrics.csv").write_text(text)
    by_metric, missing = curves(read_table().groups[0], "val/accuracy")
    assert missing == []
    assert by_metric.keys() == {"val/accuracy", "train/loss"}
    curve = by_metric["val/accuracy"]
    assert curve.reached.tolist() == [True, True, False]
    for epoch in (0, 1):
        column = [losses[seed][epoch] for seed in range(3)]
        assert curve.values[:, epoch].tolist() == column
        theirs = stats.ttest_1samp(column, 0).confidence_interval()
        assert curve.band[:, epoch] == pytest.approx(tuple(theirs))
    assert np.isnan(curve.band[:, 2]).all()


def test_a_metric_that_some_runs_lack_is_that_of_the_others(write_run, read_table):
    for seed, text in enumerate(["val/accuracy,mine\n0,0.5,2.0", "val/accuracy\n0,0.7"]):
        (write_run(f"a{seed}", seed=seed) / "metrics.csv").write_text(f"epoch,{text}\n")
    by_metric, _ = curves(read_table().groups[0], "val/accuracy")
    assert by_metric["mine"].values.tolist() == [[2.0]]
    assert by_metric["mine"].band is None
    assert by_metric["val/accuracy"].values.tolist() == [[0.5], [0.7]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "holds no epochs"),
        ("epoch,val/accuracy\n0,none\n", "could not convert"),
        ("epoch,train/accuracy\n0,0.5\n", "has no val/accuracy"),
        ("\x00", "holds no epochs"),
        (None, "[Errno 2]"),
    ],
)
def test_a_curve_that_cannot_be_drawn_is_missing_by_name(content, reason, write_run, read_table):
    path = write_run("a") / "metrics.csv"
    path.unlink() if content is None else path.write_text(content)
    by_metric, (line,) = curves(read_table().groups[0], "val/accuracy")
    assert "val/accuracy" not in by_metric
    assert line.startswith(f"Not among the curves: {path}: {reason}")

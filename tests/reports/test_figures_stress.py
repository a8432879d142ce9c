"""Figures of networks under stress: doubt, corruptions, attacks."""

import numpy as np
import pytest

from mnist_lab.reports import figures
from tests.reports.drawn import rendered


def test_reliability_before_and_after_stand_beside_each_other():
    table = np.array([[0.5, 0.5], [0.75, 0.25], [0.2, 0.8], [1.0, 0.0], [0.05, 0.95]])
    labels = [0, 1, 1, 0, 1]
    before, after, *_ = figures.recalibrated(table, table[:, ::-1], labels, 1.25, bins=4).axes
    assert before.get_title(loc="left").startswith("temperature 1: ")
    assert before.get_title(loc="left").endswith("error 30.00 %")
    assert after.get_title(loc="left").startswith("temperature 1.250: ")
    heights = [[bar.get_height() for bar in axes.containers[0]] for axes in (before, after)]
    assert heights == [[1, 0, 1], [1, 1, 0]]  # of equal ones the first is predicted


def test_risk_by_coverage_is_the_curve():
    risk = [0, 0.25, 1 / 3, 0.25, 0.4]
    (axes,) = figures.risk_coverage(risk, 0.2467).axes
    curve, all_of_them = axes.lines
    np.testing.assert_allclose(curve.get_xydata().T, [[0.2, 0.4, 0.6, 0.8, 1], risk])
    assert set(all_of_them.get_ydata()) == {0.4}
    assert axes.get_title(loc="left") == "risk by coverage: area 0.25"


def test_scores_of_foreign_images_are_shares_of_their_dataset():
    scores = {"energy": {"mnist": [0.0, 1.0, 4.0, 4.0], "kmnist": [0.0, 4.0]}}
    (axes,) = figures.foreign(scores).axes
    steps = {patch.get_label(): patch.get_data() for patch in axes.patches}
    assert list(steps) == ["mnist", "kmnist"]
    for name, (first, last) in {"mnist": (0.25, 0.5), "kmnist": (0.5, 0.5)}.items():
        assert (steps[name].values[0], steps[name].values[-1]) == (first, last)
        assert steps[name].values.sum() == 1
        assert (steps[name].edges[0], steps[name].edges[-1]) == (0, 4)


@pytest.mark.parametrize("errors", [{"motion_blur": 0.125, "fog": 0.75}, None])
def test_each_corruption_has_a_row_of_images_and_a_bar(errors):
    images = {
        name: np.full((4, 1, 28, 28), grey, np.uint8)
        for name, grey in (("motion_blur", 10), ("fog", 200))
    }
    figure = figures.corruptions(images, errors, clean=0.01)
    shown, *bars = figure.axes
    assert [text.get_text() for text in shown.texts] == ["motion blur", "fog"]
    for strip, grey in zip(shown.images, (10, 200), strict=True):
        assert set(np.unique(strip.get_array())) == {grey, 255}
    if errors is None:
        assert bars == []
        return
    (beside,) = bars
    assert [bar.get_width() for bar in beside.patches] == [0.125, 0.75]
    assert [text.get_text() for text in beside.texts] == [
        "12.50 %",
        "75.00 %",
        "uncorrupted: 1.00 %",
    ]
    # Each beside its row, downwards.
    boxes = [bar.get_window_extent() for bar in beside.patches]
    for text, box in zip(shown.texts, boxes, strict=True):
        _, height = shown.transData.transform(text.get_position())
        assert box.y0 < height < box.y1
    assert set(beside.lines[0].get_xdata()) == {0.01}
    assert rendered(figure).ndim == 3


@pytest.mark.parametrize("count", [0, 3, 16])
def test_attacked_images_stand_below_those_that_they_were_made_of(count):
    images = np.full((count, 1, 28, 28), 10, np.uint8)
    changed = np.full((count, 1, 28, 28), 90, np.uint8)
    shares = np.tile([[0.25, 0.75]], (count, 1))
    figure = figures.attacked(images, changed, np.zeros(count, int), shares, ["cat", "dog"])
    if not count:
        assert "None: all that was recognised still is." in [t.get_text() for t in figure.texts]
        return
    (axes,) = figure.axes
    rows = 2 * -(-count // 8)
    assert len(axes.images) == rows
    for number, strip in enumerate(axes.images):
        assert set(np.unique(strip.get_array())) == {(10, 90)[number % 2], 255}
    said = [text.get_text() for text in axes.texts]
    assert said == ["is cat", "dog, 75.0 %"] * count
    heights = [text.get_position()[1] for text in axes.texts]
    assert all(upper < lower for upper, lower in zip(heights[::2], heights[1::2], strict=True))
    assert rendered(figure).ndim == 3

"""The figures of many runs: what is drawn where, and that nothing is cut off."""

import numpy as np
import pytest

from mnist_lab.comparison import figures

LONG = "optimizer=AdamWithAVeryLongName widths=[32, 64, 128, 256, 512, 1024] dropout=$0.25$ "


def rendered(figure):
    """Drawn; every text lies within the figure."""
    figure.draw_without_rendering()
    box = figure.bbox
    texts = [t for axes in figure.axes for t in (axes.title, axes.xaxis.label, axes.yaxis.label,
             *ticks(axes.xaxis), *ticks(axes.yaxis))]  # fmt: skip
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    for text in texts:
        if text.get_text() and text.get_visible():
            extent = text.get_window_extent()
            assert extent.x0 >= -1, text
            assert extent.y0 >= -1, text
            assert extent.y1 <= box.y1 + 1, text
    return figure


def ticks(axis):
    """The labels of those ticks that can be seen."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def overlapping(texts) -> bool:
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    return any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


@pytest.mark.parametrize("count", [1, 2, 5, 12])
@pytest.mark.parametrize("name", ["norm=after", LONG])
def test_names_neither_overlap_nor_leave_the_page(count, name):
    names = [f"{i}. {name}" for i in range(count)]
    values = [np.array([98.0 + i, 98.5 + i]) for i in range(count)]
    ends = [(97.0 + i, 99.0 + i) for i in range(count)]
    drawn = rendered(figures.groups(names, values, ends, "test accuracy (%)"))
    assert not overlapping(ticks(drawn.axes[0].yaxis))
    costs, means = [10.0 * 3**i for i in range(count)], [98.0 + i for i in range(count)]
    drawn = rendered(figures.costs(names, means, ends, costs, costs, "y"))
    for axes in drawn.axes:
        assert not overlapping(ticks(axes.xaxis))
    history = [np.array([[0.5, 0.6], [0.4, 0.7]])] * count
    rendered(figures.curves(names, history, [None] * count, "accuracy"))
    rendered(figures.recalls(names, ["ankle boot"] * 10, np.full((count, 10), 98.0)))


def test_groups_show_each_run_its_mean_and_interval_best_on_top():
    (axes,) = figures.groups(["a", "b"], [[1.0, 3.0], [5.0]], [(0.5, 3.5), None], "x").axes
    dots, mean = axes.lines[0], axes.containers[0]
    assert dots.get_xdata().tolist() == [1, 3]
    assert mean[0].get_xdata().tolist() == [2]
    ((low, _), (high, _)) = mean[2][0].get_segments()[0]
    assert (low, high) == pytest.approx((0.5, 3.5))
    assert axes.yaxis_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


def test_curves_end_where_the_first_run_of_a_group_did():
    history = np.array([[0.1, 0.2, 0.6], [0.3, 0.4, np.nan]])
    band = (np.array([0.0, 0.1, 0.2]), np.array([0.4, 0.5, 0.6]))
    (axes,) = figures.curves(["a"], [history], [band], "accuracy").axes
    assert axes.lines[0].get_xdata().tolist() == [1, 2]
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([0.2, 0.3])
    assert axes.collections[0].get_paths()[0].vertices[:, 1].max() == 0.5


def test_costs_stand_at_their_seconds_and_parameters():
    drawn = figures.costs(["a", "b"], [97.0, 98.0], [None, (97, 99)], [1, 100], [7, 8], "y")
    points = [[(*line.get_xdata(), *line.get_ydata()) for line, *_ in axes.containers]
              for axes in drawn.axes]  # fmt: skip
    assert points == [[(1, 97), (100, 98)], [(7, 97), (8, 98)]]
    assert [axes.get_xscale() for axes in drawn.axes] == ["log", "linear"]


def test_recalls_write_each_value_into_its_cell():
    (axes,) = figures.recalls(["a", "b"], ["0", "1", "2"], [[99, 98, 97], [96, 95, 94.44]]).axes
    written = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
    assert written[0, 2] == "97.0"
    assert written[1, 2] == "94.4"
    assert axes.images[0].get_array()[1, 2] == pytest.approx(5.56)


def test_settings_have_a_panel_each_with_their_runs_and_lines():
    norm = {"size=32": [(0, [1.0, 2.0]), (1, [3.0])], "size=64": [(0, [5.0])]}
    panels = {"norm": (["after", "none"], norm), "size": (["32"], {"": [(0, [1.0])]})}
    drawn = rendered(figures.settings(panels, "y"))
    first, second = drawn.axes
    after, none, line, alone, point = first.lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 1], [1.5, 3.0])
    assert (list(after.get_ydata()), list(none.get_xdata())) == ([1, 2], [1])
    assert (list(alone.get_ydata()), list(point.get_ydata())) == ([5], [5])
    assert line.get_color() == after.get_color() != alone.get_color()
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["size=32", "size=64"]
    assert second.get_legend() is None
    assert [axes.get_title() for axes in (first, second)] == ["norm", "size"]

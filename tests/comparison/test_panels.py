"""The figures of many runs: what is drawn where, and that nothing is cut off."""

import numpy as np
import pytest

from mnist_lab.comparison import panels
from mnist_lab.comparison.marks import Shown
from mnist_lab.comparison.panels import Panel

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


def of_names(names):
    """Groups of one run each."""
    return Shown([*names], [[1.0]] * len(names), [None] * len(names), "y")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("width", [panels.WIDE, panels.NARROW])
@pytest.mark.parametrize(("count", "name"), [(1, LONG), (5, LONG), (12, "after")])
def test_names_neither_overlap_nor_leave_the_page(count, name, width):
    names = [f"{name} {i}" for i in range(count)]
    values = [np.array([98.0 + i, 98.5 + i]) for i in range(count)]
    shown = Shown(names, values, [(97.0 + i, 99.0 + i) for i in range(count)], "accuracy (%)")
    (axes,) = rendered(panels.groups(shown, width)).axes
    assert not overlapping([*ticks(axes.yaxis), *axes.texts])
    costs = [10.0 * 3**i for i in range(count)]
    for axes in rendered(panels.costs(shown, costs, costs, width)).axes:
        assert not overlapping(ticks(axes.xaxis))
    history = [np.array([[0.5, 0.6], [0.4, 0.7]])] * count
    rendered(panels.curves(shown, history, [None] * count, "accuracy", width))
    classes = [f"{LONG}{i}" for i in range(30)]
    drawn = rendered(panels.recalls(shown, classes, np.full((count, 30), 98.0), width))
    for axes in drawn.axes:
        assert not overlapping(ticks(axes.yaxis))
        assert not overlapping(axes.texts[:12])  # of the first row
        assert axes.bbox.height / drawn.dpi > 30 * 0.2  # room for a line of text a class


def test_groups_show_each_run_its_mean_and_interval_best_on_top():
    shown = Shown(["a", "b"], [[1.0, 3.0], [5.0]], [(0.5, 3.5), None], "x")
    (axes,) = panels.groups(shown).axes
    dots, mean = axes.lines[0], axes.containers[0]
    assert dots.get_xdata().tolist() == [1, 3]
    assert mean[0].get_xdata().tolist() == [2]
    ((low, _), (high, _)) = mean[2][0].get_segments()[0]
    assert (low, high) == pytest.approx((0.5, 3.5))
    assert axes.yaxis_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1. a", "2. b"]


def test_curves_end_where_the_first_run_of_a_group_did():
    history = np.array([[0.1, 0.2, 0.6], [0.3, 0.4, np.nan]])
    band = np.array([[0.0, 0.1, 0.2], [0.4, 0.5, 0.6]])
    (axes,) = panels.curves(of_names("a"), [history], [band], "accuracy").axes
    assert axes.lines[0].get_xdata().tolist() == [1, 2]
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([0.2, 0.3])
    assert axes.collections[0].get_paths()[0].vertices[:, 1].max() == 0.5


def test_costs_stand_at_their_seconds_and_parameters():
    shown = Shown(["a", "b"], [[97.0], [97.0, 99.0]], [None, (97, 99)], "y")
    drawn = panels.costs(shown, [1, 100], [7, 8])
    points = [[(*line.get_xdata(), *line.get_ydata()) for line, *_ in axes.containers]
              for axes in drawn.axes]  # fmt: skip
    assert points == [[(1, 97), (100, 98)], [(7, 97), (8, 98)]]
    assert [axes.get_xscale() for axes in drawn.axes] == ["log", "linear"]


def test_recalls_write_each_value_into_its_cell_a_row_a_class():
    values = [[99, np.nan, 97], [96, np.nan, 94.44]]
    (axes,) = panels.recalls(of_names("ab"), ["0", "1", "2"], values).axes
    written = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
    assert written == {(0, 0): "99.0", (0, 1): "96.0", (1, 0): "-", (1, 1): "-", (2, 0): "97.0",
                       (2, 1): "94.4"}  # fmt: skip
    assert axes.images[0].get_array()[2, 1] == pytest.approx(5.56)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]


def test_columns_of_recalls_that_a_phone_has_no_room_for_stand_below_the_others():
    drawn = panels.recalls(of_names("abcdefg"), ["0"], 90 + np.arange(7)[:, None], panels.NARROW)
    first, second = drawn.axes
    assert [text.get_text() for text in first.texts] == ["90.0", "91.0", "92.0", "93.0"]
    assert [text.get_text() for text in second.texts] == ["94.0", "95.0", "96.0"]
    assert [label.get_text() for label in second.get_xticklabels()] == ["5", "6", "7"]
    assert [axes.images[0].get_clim() for axes in drawn.axes] == [(0, 10)] * 2


def test_settings_have_a_panel_each_with_their_runs_and_lines():
    shown = Shown(["a", "b", "c"], [[1.0, 2.0], [3.0], [5.0]], [None] * 3, "y")
    norm = Panel(["after", "none"], 0, {"size=32": [(0, 0), (1, 1)], "size=64": [(0, 2)]})
    size = Panel(["32", "64"], 2, {"norm=none": [(0, 0), (1, 1)], "norm=after": [(0, 2)]})
    first, second = rendered(panels.settings(shown, {"norm": norm, "size": size})).axes

    def lines(axes):  # those that join
        return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines
                if line.get_linestyle() == "-"]  # fmt: skip

    assert lines(first) == []  # values without an order
    assert lines(second) == [([0, 1], [1.5, 3.0])]
    singles = [line for line in second.lines if line.get_alpha()]
    assert [list(line.get_ydata()) for line in singles] == [[1, 2], [3], [5]]
    assert [axes.get_title() for axes in (first, second)] == ["norm", "size"]


@pytest.mark.parametrize("width", [panels.WIDE, panels.NARROW])
def test_many_values_of_a_setting_stand_beside_each_other(width):
    values = [f"{0.000123 * 2**i:.6f}" for i in range(12)]
    rate = Panel(values, 12, {"": [(i, i) for i in range(12)]})
    drawn = rendered(panels.settings(of_names("abcdefghijkl"), dict.fromkeys("xyz", rate), width))
    assert not overlapping(ticks(drawn.axes[0].xaxis))


def test_lines_are_named_at_their_ends_without_overlap():
    values = [[end + i] for i in range(5) for end in (1.0, 2.0 - i + i / 1000)]
    shown = Shown(list("abcdefghij"), values, [None] * 10, "y")
    series = {f"depth={i}": [(0, 2 * i), (1, 2 * i + 1)] for i in range(5)}
    size = Panel(["1", "2"], 2, series)
    drawn = rendered(panels.settings(shown, {"size": size, "b": Panel(["1"], 1, {"": [(0, 0)]})}))
    names = drawn.axes[0].texts
    assert {name.get_text() for name in names} == set(series)
    assert not overlapping(names)
    box = drawn.axes[0].get_window_extent()
    assert all(name.get_window_extent().x1 < box.x1 + 1 for name in names)

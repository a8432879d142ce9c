"""The figures of many runs: what is drawn where, and that nothing is cut off."""

import numpy as np
import pytest

from mnist_lab.comparison import drawing, gather, panels
from mnist_lab.comparison.columns import arrange

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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("width", [panels.WIDE, panels.NARROW])
@pytest.mark.parametrize(("count", "name"), [(1, LONG), (2, "after"), (5, LONG), (12, "after")])
def test_names_neither_overlap_nor_leave_the_page(count, name, width):
    names = [f"{name} {i}" for i in range(count)]
    values = [np.array([98.0 + i, 98.5 + i]) for i in range(count)]
    ends = [(97.0 + i, 99.0 + i) for i in range(count)]
    drawn = rendered(panels.groups(names, values, ends, "test accuracy (%)", width=width))
    (axes,) = drawn.axes
    assert not overlapping([*ticks(axes.yaxis), *axes.texts])
    costs, means = [10.0 * 3**i for i in range(count)], [98.0 + i for i in range(count)]
    drawn = rendered(panels.costs(names, means, ends, costs, costs, "y", width=width))
    for axes in drawn.axes:
        assert not overlapping(ticks(axes.xaxis))
    history = [np.array([[0.5, 0.6], [0.4, 0.7]])] * count
    rendered(panels.curves(names, history, [None] * count, "accuracy", width=width))
    drawn = rendered(panels.recalls(names, [f"{LONG}{i}" for i in range(30)],
                                     np.full((count, 30), 98.0), width=width))  # fmt: skip
    for axes in drawn.axes:
        assert not overlapping(ticks(axes.yaxis))
        assert not overlapping(axes.texts[:12])  # of the first row
        assert axes.bbox.height / drawn.dpi > 30 * 0.2  # room for a line of text a class


def test_groups_show_each_run_its_mean_and_interval_best_on_top():
    (axes,) = panels.groups(["a", "b"], [[1.0, 3.0], [5.0]], [(0.5, 3.5), None], "x").axes
    dots, mean = axes.lines[0], axes.containers[0]
    assert dots.get_xdata().tolist() == [1, 3]
    assert mean[0].get_xdata().tolist() == [2]
    ((low, _), (high, _)) = mean[2][0].get_segments()[0]
    assert (low, high) == pytest.approx((0.5, 3.5))
    assert axes.yaxis_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1. a", "2. b"]


def test_curves_end_where_the_first_run_of_a_group_did():
    history = np.array([[0.1, 0.2, 0.6], [0.3, 0.4, np.nan]])
    band = (np.array([0.0, 0.1, 0.2]), np.array([0.4, 0.5, 0.6]))
    (axes,) = panels.curves(["a"], [history], [band], "accuracy").axes
    assert axes.lines[0].get_xdata().tolist() == [1, 2]
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([0.2, 0.3])
    assert axes.collections[0].get_paths()[0].vertices[:, 1].max() == 0.5


def test_costs_stand_at_their_seconds_and_parameters():
    drawn = panels.costs(["a", "b"], [97.0, 98.0], [None, (97, 99)], [1, 100], [7, 8], "y")
    points = [[(*line.get_xdata(), *line.get_ydata()) for line, *_ in axes.containers]
              for axes in drawn.axes]  # fmt: skip
    assert points == [[(1, 97), (100, 98)], [(7, 97), (8, 98)]]
    assert [axes.get_xscale() for axes in drawn.axes] == ["log", "linear"]


def test_recalls_write_each_value_into_its_cell_a_row_a_class():
    values = [[99, np.nan, 97], [96, np.nan, 94.44]]
    (axes,) = panels.recalls(["a", "b"], ["0", "1", "2"], values).axes
    written = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
    assert written == {(0, 0): "99.0", (0, 1): "96.0", (1, 0): "-", (1, 1): "-", (2, 0): "97.0",
                       (2, 1): "94.4"}  # fmt: skip
    assert axes.images[0].get_array()[2, 1] == pytest.approx(5.56)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]


def test_columns_of_recalls_that_a_phone_has_no_room_for_stand_below_the_others():
    drawn = panels.recalls(list("abcdefg"), ["0"], 90 + np.arange(7)[:, None], width=3.4)
    first, second = drawn.axes
    assert [text.get_text() for text in first.texts] == ["90.0", "91.0", "92.0", "93.0"]
    assert [text.get_text() for text in second.texts] == ["94.0", "95.0", "96.0"]
    assert [label.get_text() for label in second.get_xticklabels()] == ["5", "6", "7"]
    assert [axes.images[0].get_clim() for axes in drawn.axes] == [(0, 10)] * 2


def test_a_recall_of_no_images_is_a_dash():
    (axes,) = panels.recalls(["a"], ["0", "1"], [[90, np.nan]]).axes
    assert [text.get_text() for text in axes.texts] == ["90.0", "-"]


def test_settings_have_a_panel_each_with_their_runs_and_lines():
    norm = {"size=32": [(0, 0, [1.0, 2.0]), (1, 1, [3.0])], "size=64": [(0, 2, [5.0])]}
    size = {"norm=none": [(0, 0, [1.0, 2.0]), (1, 1, [3.0])], "norm=after": [(0, 2, [5.0])]}
    settings = {"norm": (["after", "none"], 0, norm), "size": (["32", "64"], 2, size)}
    drawn = rendered(panels.settings(settings, ["a", "b", "c"], "y"))
    first, second = drawn.axes

    def lines(axes):  # those that join
        return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines
                if line.get_linestyle() == "-"]  # fmt: skip

    assert lines(first) == []  # values without an order
    assert lines(second) == [([0, 1], [1.5, 3.0])]
    singles = [line for line in second.lines if line.get_alpha()]
    assert [list(line.get_ydata()) for line in singles] == [[1, 2], [3], [5]]
    assert [axes.get_title() for axes in (first, second)] == ["norm", "size"]


def test_lines_are_named_at_their_ends_without_overlap():
    series = {f"depth={i}": [(0, i, [1.0 + i]), (1, i, [2.0 + i / 1000])] for i in range(5)}
    settings = {"size": (["1", "2"], 2, series), "b": (["1"], 1, {"": [(0, 0, [1.0])]})}
    drawn = rendered(panels.settings(settings, list("abcde"), "y"))
    told = drawn.axes[0].texts
    assert {text.get_text() for text in told} == set(series)
    assert not overlapping(told)
    box = drawn.axes[0].get_window_extent()
    assert all(text.get_window_extent().x1 < box.x1 + 1 for text in told)


@pytest.fixture
def drawings(write_run, tmp_path):
    """Groups of batch sizes and two kinds of norm, the figures by name; the third has no curve."""
    for number, size in enumerate((1024, 10, 256, 32, 64)):
        for norm in ("after", "none"):
            for seed in range(2):
                test = 0.9 - number / 50 - (norm == "none") / 100 + seed / 1000
                write_run(f"{size}{norm}{seed}", seed=seed, val=test, test=test, model__norm=norm,
                          data__batch_size=size)  # fmt: skip
    for path in (tmp_path / "runs").glob("10after*/metrics.csv"):
        path.unlink()
    (table,) = arrange(gather.read(gather.find([str(tmp_path / "runs")]))[0])
    histories, _ = drawing._histories(table, table.groups)
    return {name: drawn for name, _, drawn in drawing.drawings(table, table.groups, histories)}


SIZES = [10, 32, 64, 256, 1024]


@pytest.mark.parametrize("name", ["settings", "curves", "costs"])
def test_numbers_are_in_their_order_in_every_legend(name, drawings):
    (legend,) = drawings[name]().legends
    assert legend.get_title().get_text() == "norm \u00b7 batch_size"
    expected = [f"{norm} \u00b7 {size}" for norm in ("after", "none") for size in SIZES]
    expected.remove("after \u00b7 10") if name == "curves" else None
    assert [text.get_text() for text in legend.get_texts()] == expected


def test_numbers_are_in_their_order_on_axes(drawings):
    panel = next(a for a in drawings["settings"]().axes if a.get_title() == "batch_size")
    assert [label.get_text() for label in panel.get_xticklabels()] == [str(s) for s in SIZES]


@pytest.mark.parametrize("width", [panels.WIDE, panels.NARROW])
def test_a_group_has_one_colour_in_every_figure(drawings, width):
    found = {}
    for name in ("settings", "curves", "costs", "recalls"):
        (legend,) = drawings[name](width=width).legends
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True):
            group = text.get_text().partition(". ")[2] or text.get_text()
            found.setdefault(group, set()).add(handle.get_color())
    (axes,) = drawings["groups"]().axes
    for label, line in zip(axes.get_yticklabels(), axes.containers, strict=True):
        found[label.get_text().partition(". ")[2]].add(line[0].get_color())
    assert all(len(colors) == 1 for colors in found.values())
    assert len({color for colors in found.values() for color in colors}) == 10


def test_what_is_drawn_has_the_colour_of_its_legend(drawings):
    figure = drawings["curves"]()
    (axes,), (legend,) = figure.axes, figure.legends
    assert ({line.get_color() for line in axes.lines}
            == {handle.get_color() for handle in legend.legend_handles})  # fmt: skip
    figure = drawings["costs"]()
    first = figure.axes[0].containers[0][0]  # of the first group: 1024, after
    colors = {t.get_text(): h.get_color() for t, h in zip(figure.legends[0].get_texts(),
              figure.legends[0].legend_handles, strict=True)}  # fmt: skip
    assert first.get_ydata()[0] == pytest.approx(90.05)
    assert first.get_color() == colors["after \u00b7 1024"]

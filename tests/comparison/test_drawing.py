"""What is drawn of a table of runs: figures by name, in one order, groups in one colour each."""

import pytest

from mnist_lab.comparison import drawing, panels
from mnist_lab.comparison.histories import curves


@pytest.fixture
def drawings(write_run, read_table, tmp_path):
    """Groups of batch sizes and two kinds of norm, the figures by name; the third has no curve."""
    for number, size in enumerate((1024, 10, 256, 32, 64)):
        for norm in ("after", "none"):
            for seed in range(2):
                test = 0.9 - number / 50 - (norm == "none") / 100 + seed / 1000
                write_run(f"{size}{norm}{seed}", seed=seed, val=test, test=test, model__norm=norm,
                          data__batch_size=size)  # fmt: skip
    for path in (tmp_path / "runs").glob("10after*/metrics.csv"):
        path.unlink()
    table = read_table()
    traced = [curves(group, table.traced)[0].get(table.traced) for group in table.shown]
    return {name: drawn for name, _, drawn in drawing.drawings(table, traced)}


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
    colors = {}
    for name in ("settings", "curves", "costs", "recalls"):
        (legend,) = drawings[name](width=width).legends
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True):
            group = text.get_text().partition(". ")[2] or text.get_text()
            colors.setdefault(group, set()).add(handle.get_color())
    (axes,) = drawings["groups"]().axes
    for label, line in zip(axes.get_yticklabels(), axes.containers, strict=True):
        colors[label.get_text().partition(". ")[2]].add(line[0].get_color())
    assert all(len(of_group) == 1 for of_group in colors.values())
    assert len(set.union(*colors.values())) == 10


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

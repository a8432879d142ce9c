"""Groups in TensorBoard: read back against numpy, and opened in a browser."""

import json
import time
from urllib.request import urlopen

import numpy as np
import pytest
from scipy import stats
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from mnist_lab.comparison import boards
from mnist_lab.comparison.histories import curves
from tests.reports.served import tensorboard

EPOCHS = 3
TAGS = {"val/accuracy": "Accuracy/val", "train/loss": "Loss/train", "lr": "lr"}


@pytest.fixture
def write_curves(write_run):
    """`write_curves(norm, n)`: runs of n seeds with curves; what they logged, `(n, epochs)`."""

    def write(norm, n, **settings):
        rng = np.random.RandomState(n)
        logged = {metric: rng.normal(0.5, 0.1, (n, EPOCHS)) for metric in TAGS}
        for seed in range(n):
            folder = write_run(f"{norm}{seed}", seed=seed, model__norm=norm, **settings)
            rows = [[epoch, *(values[seed, epoch] for values in logged.values())]
                    for epoch in range(EPOCHS)]  # fmt: skip
            lines = [",".join(map(str, row)) for row in (["epoch", *logged], *rows)]
            (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
        return logged

    return write


@pytest.fixture
def write_boards(read_tables, tmp_path):
    """`write_boards()`: those of all runs, in `tmp_path / "boards"`."""

    def write():
        tables = read_tables()
        by_table = [[curves(group, table.traced)[0] for group in table.groups] for table in tables]
        assert boards.write(tmp_path / "boards", tables, by_table) == sum(map(len, by_table))
        return tmp_path / "boards"

    return write


def read(folder):
    events = EventAccumulator(str(folder), {"tensors": 0})
    events.Reload()
    return events


def values(events, tag):
    return [event.value for event in events.Scalars(tag)]


def test_means_and_bands_are_numpys(write_curves, write_boards):
    logged = {norm: write_curves(norm, n) for norm, n in (("after", 4), ("none", 1))}
    folder = write_boards()
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["1. norm=after", "2. norm=none"]
    for name, (norm, n) in zip(names, (("after", 4), ("none", 1)), strict=True):
        events = read(folder / name)
        assert len(events.Tags()["scalars"]) == 3 * len(TAGS)
        for metric, tag in TAGS.items():
            mean = logged[norm][metric].mean(0)
            half = np.zeros(EPOCHS)
            if n > 1:
                half = stats.t.ppf(0.975, n - 1) * stats.sem(logged[norm][metric])
            assert [event.step for event in events.Scalars(tag)] == [1, 2, 3]
            assert values(events, tag) == pytest.approx(mean)
            assert values(events, f"interval/{tag}/low") == pytest.approx(mean - half)
            assert values(events, f"interval/{tag}/high") == pytest.approx(mean + half)


def test_each_metric_has_a_chart_of_mean_and_band(write_curves, write_boards):
    write_curves("after", 2)
    write_curves("none", 2)
    layouts = set()
    for folder in write_boards().iterdir():
        (event,) = read(folder).Tensors("custom_scalars__config__")
        layouts.add(event.tensor_proto.string_val[0])
    (category,) = layout_pb2.Layout.FromString(layouts.pop()).category
    assert not layouts  # or each would have charts of its own
    assert category.title == "mean and 95 % interval over seeds"
    assert [chart.title for chart in category.chart] == sorted(TAGS.values())
    (series,) = category.chart[0].margin.series
    assert (series.value, series.lower, series.upper) == (
        "Accuracy/val", "interval/Accuracy/val/low", "interval/Accuracy/val/high",
    )  # fmt: skip


def test_another_comparison_takes_the_place_of_an_earlier_one(write_curves, write_boards, tmp_path):
    write_curves("after", 2)
    write_curves("<b>/../c", 1, data__batch_size=7, val=0.8)
    folder = write_boards()
    assert sorted(path.name for path in folder.iterdir()) == [
        "1. norm=after batch_size=64", "2. norm=_b__.._c batch_size=7",
    ]  # fmt: skip
    (folder / "1. norm=after batch_size=64/mine.txt").touch()
    for path in (tmp_path / "runs").glob("after*/config.yaml"):
        path.write_text(path.read_text().replace("val_size: 200", "val_size: 100"))
    write_boards()
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert left == [
        "1. norm=after batch_size=64/mine.txt",
        f"1/1. lenet/{boards.FILE}",
        f"2/1. lenet/{boards.FILE}",
    ]


@pytest.fixture
def address(write_curves, write_boards):
    """Of a TensorBoard over two groups."""
    for hidden in ("[16]", "[4]"):
        write_curves(hidden, 3)
    with tensorboard(write_boards()) as address:
        yield address


@pytest.mark.slow
def test_tensorboard_shows_groups_with_their_bands(address, browser):
    runs = ["1. norm=[16]", "2. norm=[4]"]
    for _ in range(150):
        with urlopen(f"{address}/data/plugin/custom_scalars/layout") as answer:
            layout = json.loads(answer.read())
        with urlopen(f"{address}/data/runs") as answer:
            known = sorted(json.loads(answer.read()))
        if layout and known == runs:
            break
        time.sleep(0.1)
    assert known == runs
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.goto(f"{address}/#custom_scalars")
    chart = page.locator("tf-custom-scalar-margin-chart-card").first
    chart.wait_for()
    chart.locator("path.line, .line path, path").first.wait_for(state="attached")
    page.get_by_text("mean and 95 % interval over seeds").first.wait_for()
    page.goto(f"{address}/#timeseries")
    page.locator("scalar-card line-chart").first.wait_for()
    shown = page.locator("scalar-card .tag").all_inner_texts()
    assert ["".join(text.split()) for text in shown][:2] == ["Accuracy/val", "Loss/train"]
    for run in runs:
        page.get_by_text(run).first.wait_for()
    page.close()

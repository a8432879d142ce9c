"""The figures: what is drawn where."""

from io import BytesIO

import matplotlib.image
import matplotlib.text
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from sklearn.metrics import precision_recall_fscore_support

from mnist_lab.reports import figures
from mnist_lab.reports.figures import style
from tests.reports.drawn import rendered

COUNTS = np.array([[50, 3, 0], [0, 41, 9], [1, 0, 120]])
NAMES = ["cat", "dog", "ox"]
HISTORY = {
    "train/loss": [2.0, 1.0, 0.5, 0.25],
    "val/loss": [1.9, 1.1, 0.7, 0.8],
    "train/accuracy": [0.3, 0.6, 0.8, 0.9],
    "val/accuracy": [0.4, 0.5, 0.75, 0.7],
    "lr": [0.1, 0.1, 0.1, 0.1],
}


def sheet_of(axes):
    """Pictures in rows, of which each is an image of its own."""
    return np.ma.concatenate([image.get_array() for image in axes.images])


def lines(axes) -> dict[str, tuple[list[float], list[float]]]:
    """The series of one plot by their names in its legend."""
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines
    }


@pytest.mark.parametrize("counts", [COUNTS, torch.tensor(COUNTS), COUNTS.tolist()])
def test_confusion_matrix_writes_each_count_into_its_cell(counts):
    (axes,) = figures.confusion_matrix(counts, NAMES, title="test").axes
    written = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
    assert written == {(0, 0): "50", (0, 1): "3", (1, 1): "41", (1, 2): "9", (2, 0): "1",
                       (2, 2): "120"}  # fmt: skip
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction", "truth")
    for axis in (axes.xaxis, axes.yaxis):
        assert list(axis.get_ticklocs()) == [0, 1, 2]
        assert [label.get_text() for label in axis.get_ticklabels()] == NAMES
    assert axes.get_title(loc="left") == "test"


def test_confusion_matrix_colours_mistakes_by_number_and_the_diagonal_by_recall():
    counts = COUNTS * 10
    (axes,) = figures.confusion_matrix(counts, NAMES).axes
    mistakes, hits = axes.images
    np.testing.assert_array_equal(mistakes.get_array(), [[0, 30, 0], [0, 0, 90], [10, 0, 0]])
    assert mistakes.get_clim() == (0, 90)
    shown = hits.get_array()
    np.testing.assert_allclose(shown.diagonal(), [50 / 53, 41 / 50, 120 / 121])
    np.testing.assert_array_equal(shown.mask, ~np.eye(3, dtype=bool))
    # Row 0 on top, as in the matrix.
    assert mistakes.origin == "upper"
    assert axes.yaxis_inverted()


@pytest.mark.parametrize("many", [1, 10, 1000])
def test_every_count_stands_out_from_its_cell(many):
    """Contrast of at least 4.5, as WCAG 2 asks of text."""
    counts = np.arange(1, 101).reshape(10, 10) * many
    (axes,) = figures.confusion_matrix(counts, [str(i) for i in range(10)]).axes
    mistakes, hits = axes.images
    for text in axes.texts:
        column, row = text.get_position()
        image = hits if row == column else mistakes
        value = image.get_array()[row, column]
        bright = luminance(image.to_rgba(np.array([value]))[0])
        ink = luminance(to_rgba(text.get_color()))
        assert (max(bright, ink) + 0.05) / (min(bright, ink) + 0.05) >= 4.5, text


def luminance(colour) -> float:
    """Relative luminance by WCAG 2."""
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return float(np.dot(parts, [0.2126, 0.7152, 0.0722]))


def test_curves_are_the_history():
    loss, accuracy = figures.curves(HISTORY, best_epoch=2).axes
    epochs, chosen = [1, 2, 3, 4], ([3, 3], [0, 1])
    assert lines(loss) == {
        "train": (epochs, HISTORY["train/loss"]),
        "validation": (epochs, HISTORY["val/loss"]),
        "chosen: 3": chosen,
    }
    assert lines(accuracy) == {
        "train": (epochs, HISTORY["train/accuracy"]),
        "validation": (epochs, HISTORY["val/accuracy"]),
        "chosen: 3": chosen,
    }
    for axes, quantity in ((loss, "loss"), (accuracy, "accuracy")):
        assert (axes.get_xlabel(), axes.get_title(loc="left")) == ("epoch", quantity)
        shown = [text.get_text() for text in axes.get_legend().get_texts()]
        assert shown == ["train", "validation", "chosen: 3"]


@pytest.mark.parametrize(
    ("first", "zoomed"),
    [(1.15, False), (1.25, True), (-9.0, True), (float("nan"), False)],
)
def test_curves_zoom_where_the_first_epoch_dwarfs_the_rest(first, zoomed):
    """Epochs from the second on span 0.3..0.6; with the first three times that, and not less."""
    history = {"train/loss": [first, 0.6, 0.4, 0.3], "val/loss": [0.6, 0.5, 0.4, 0.4]}
    panels = figures.curves(history, best_epoch=2).axes
    assert len(panels) == (4 if zoomed else 2)
    if zoomed:
        close = panels[2]
        assert close.get_title(loc="left") == "loss, from epoch 2 on"
        assert lines(close)["train"] == ([2, 3, 4], [0.6, 0.4, 0.3])
        assert lines(close)["validation"] == ([2, 3, 4], [0.5, 0.4, 0.4])
        low, high = close.get_ylim()
        assert 0.2 < low < 0.3
        assert 0.6 < high < 0.7


def test_curves_do_not_zoom_on_a_single_epoch():
    assert len(figures.curves({"train/loss": [9.0, 0.1], "val/loss": [9.0, 0.1]}).axes) == 2


def test_curves_leave_out_what_is_missing():
    history = {"train/loss": [2.0, 1.0], "train/accuracy": [0.5, 0.6], "val/accuracy": []}
    loss, accuracy = figures.curves(history).axes
    assert lines(loss) == {"train": ([1, 2], [2.0, 1.0])}
    assert lines(accuracy) == {"train": ([1, 2], [0.5, 0.6])}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("history", "best_epoch"),
    [
        (HISTORY, 2),
        ({name: values[:1] for name, values in HISTORY.items()}, 0),
        ({"train/loss": [2.0, 1.0]}, 1),
        ({"train/loss": [2.0, 1.0]}, None),
    ],
)
def test_curves_render_without_warnings(history, best_epoch):
    pixels = rendered(figures.curves(history, best_epoch))
    # Both colours of train's and validation's lines, where there are such.
    for name, colour in (("train/loss", (0, 0x72, 0xB2)), ("val/loss", (0xD5, 0x5E, 0))):
        drawn = (np.round(pixels[..., :3] * 255) == colour).all(-1).any()
        assert drawn == (name in history)


RIGHT = np.array([0, 1, 2, 2, 1, 0, 2, 1, 0, 2])  # of ten images; classes as in NAMES
GUESS = np.array([0, 1, 0, 0, 2, 0, 1, 2, 1, 0])
SURE = np.array([0.9, 0.8, 0.55, 0.95, 0.7, 0.99, 0.6, 0.45, 0.85, 0.5])


def probabilities(guess=GUESS, sure=SURE, classes=3) -> np.ndarray:
    """Rows with the given largest value at the given place."""
    table = np.repeat((1 - sure)[:, None] / (classes - 1), classes, axis=1)
    table[np.arange(len(guess)), guess] = sure
    return table


def flat_images(count: int, channels: int = 1, size: int = 4) -> np.ndarray:
    """The image of index i is all of value i."""
    values = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(values, (count, channels, size, size))


def captions(figure) -> list[list[str]]:
    """The texts below each picture, row by row from the left."""
    cells: dict[tuple[float, float], list[str]] = {}
    texts = sorted(figure.axes[0].texts, key=lambda text: text.get_position()[1])
    for text in texts:
        x, y = text.get_position()
        near = [k for k in cells if k[0] == x and abs(k[1] - y) < 0.2]
        cells.setdefault(near[0] if near else (x, y), []).append(text.get_text())
    return [cells[key] for key in sorted(cells, key=lambda key: (round(key[1], 2), key[0]))]


def pictures(figure) -> list[int]:
    """The values of the flat images in the order of their places."""
    pixels = np.asarray(sheet_of(figure.axes[0]))[..., 0]
    found: list[int] = []
    for row in pixels:
        inside = row[row < 250]
        order = [int(v) for i, v in enumerate(inside) if i == 0 or inside[i - 1] != v]
        found += [value for value in order if value not in found]
    return found


def test_per_class_points_are_the_values():
    values = np.array(precision_recall_fscore_support(RIGHT, GUESS, zero_division=0)[:3])
    values[:, 1] = np.nan  # as of a class without images
    (axes,) = figures.per_class(*values, NAMES).axes
    for points, expected in zip(axes.lines, values, strict=True):
        np.testing.assert_allclose(points.get_xdata(), expected)
        assert points.get_ydata().tolist() == [0, 1, 2]
        assert points.get_linestyle() == "None"
    assert [points.get_label() for points in axes.lines] == ["precision", "recall", "F1"]
    told = [f"{value:.3f}" for value in values[2]]
    assert [text.get_text() for text in axes.texts] == [told[0], "-", told[2]]
    assert [label.get_text() for label in axes.get_yticklabels()] == NAMES
    assert not axes.containers  # a bar that begins elsewhere than at 0 says what isn't so
    low, high = axes.get_xlim()
    assert 0 <= low <= np.nanmin(values)
    assert high == 1


def test_a_diagonal_without_hits_says_0():
    (axes,) = figures.confusion_matrix([[0, 3], [1, 2]], ["a", "b"]).axes
    written = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
    assert written == {(0, 0): "0", (0, 1): "3", (1, 0): "1", (1, 1): "2"}


def test_a_matrix_of_thirty_classes_is_as_wide_as_a_reports_page():
    figure = figures.confusion_matrix(np.full((30, 30), 123), [f"class {i}" for i in range(30)])
    assert 8 < figure.get_size_inches()[0] < 9.6
    assert min(text.get_fontsize() for text in figure.axes[0].texts) > 6


LONG = [f"a picture of some kind of animal, number {i} of thirty" for i in range(30)]


def test_long_names_are_shortened_where_they_differ():
    shown = style.shortened(LONG)
    assert len(set(shown)) == 30
    assert max(map(len, shown)) <= 20
    assert all(str(i) in name for i, name in enumerate(shown))
    assert style.shortened(["short", "b" * 25]) == ["short", "b" * 19 + "…"]
    assert style.shortened(["a  b\n"]) == ["a b"]


@pytest.mark.parametrize(
    "names",
    [
        ["x" * 40 + end for end in "ab"],
        ["x" * 40 + "a" * 40, "x" * 40 + "b" * 40],
        ["x" * 40 + one + "y" * 40 + two for one in "ab" for two in "cd"],
        ["the same in all of them " + "z" * n for n in range(30)],
        ["a" * 20, "a" * 21, "a" * 19 + "…"],
    ],
)
def test_no_two_names_are_shortened_to_one(names):
    assert len(set(style.shortened(names))) == len(names)


@pytest.mark.parametrize("figure", ["matrix", "classes", "samples", "counts", "strip"])
def test_every_figure_tells_classes_of_long_names_apart(figure):
    counts = np.eye(30, dtype=int)
    drawn = {
        "matrix": lambda: figures.confusion_matrix(counts, LONG),
        "classes": lambda: figures.per_class(*np.full((3, 30), 0.9), LONG),
        "samples": lambda: figures.samples(flat_images(30), np.arange(30), LONG),
        "counts": lambda: figures.class_distribution({"train": np.ones(30)}, LONG),
        "strip": lambda: figures.output_strip(np.full(30, 1 / 30), LONG),
    }[figure]()
    (axes,) = drawn.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    texts = {text.get_text() for text in [*axes.texts]} | set(labels)
    assert len([text for text in texts if "number" in text or "…" in text]) == 30


def test_confusions_are_told_by_their_number():
    figure = figures.confusions(flat_images(10), RIGHT, GUESS, NAMES)
    # By number, then by class.
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == [
        "ox taken for cat: 3 times",
        "dog taken for ox: 2 times",
        "cat taken for dog: once",
        "ox taken for dog: once",
    ]
    assert pictures(figure) == [2, 3, 9, 4, 7, 8, 6]
    assert figure.texts[0].get_text() == "most frequent confusions (7 mistakes among 10 images)"


@pytest.mark.parametrize("as_tensor", [False, True])
def test_mistakes_are_the_most_confident_first(as_tensor):
    arrays = [np.array(flat_images(10)), RIGHT, probabilities()]
    if as_tensor:
        arrays = [torch.from_numpy(array) for array in arrays]
    figure = figures.mistakes(*arrays, NAMES, count=5)
    assert captions(figure) == [
        ["cat, 95.0 %", "is ox"],
        ["dog, 85.0 %", "is cat"],
        ["ox, 70.0 %", "is dog"],
        ["dog, 60.0 %", "is ox"],
        ["cat, 55.0 %", "is ox"],
    ]
    assert pictures(figure) == [3, 8, 4, 6, 2]
    assert figure.texts[0].get_text() == "5 most confident mistakes of 7 among 10 images"


def test_no_mistakes_are_told_as_such():
    images, right = flat_images(3), RIGHT[:3]
    table = probabilities(right, SURE[:3])
    for figure in (
        figures.mistakes(images, right, table, NAMES),
        figures.confusions(images, right, right, NAMES),
    ):
        assert figure.texts[1].get_text() == "None: all 3 images are right."
        assert (rendered(figure) < 0.5).any()


def test_predictions_are_titled_with_class_and_confidence():
    figure = figures.predictions(flat_images(4), probabilities()[:4], NAMES)
    assert captions(figure) == [["cat, 90.0 %"], ["dog, 80.0 %"], ["cat, 55.0 %"], ["cat, 95.0 %"]]
    assert pictures(figure) == [0, 1, 2, 3]
    beside = figures.predictions(flat_images(4), probabilities()[:4], NAMES, RIGHT[:4])
    assert captions(beside)[1:3] == [["dog, 80.0 %"], ["cat, 55.0 %", "is ox"]]


def test_reliability_shows_the_bins_and_their_error():
    table = np.array([[0.5, 0.5], [0.75, 0.25], [0.2, 0.8], [1.0, 0.0], [0.05, 0.95]])
    above, below = figures.reliability(table, [0, 1, 1, 0, 1], bins=4).axes
    accuracy, gap = above.containers
    assert [bar.get_height() for bar in accuracy] == [1, 0, 1]
    tops = [bar.get_y() + bar.get_height() for bar in gap]
    np.testing.assert_allclose(tops, [0.5, 0.75, 2.75 / 3])
    assert [bar.get_height() for bar in below.containers[0]] == [1, 1, 3]
    centres = [bar.get_x() + bar.get_width() / 2 for bar in accuracy]
    np.testing.assert_allclose(centres, [0.375, 0.625, 0.875])
    assert above.get_title(loc="left").endswith("error 30.00 %")


def test_class_distribution_counts():
    given = {"train": [500, 1200, 3], "test": torch.tensor([5, 0, 7])}
    for axes, (name, counts) in zip(
        figures.class_distribution(given, NAMES).axes, given.items(), strict=True
    ):
        assert [bar.get_width() for bar in axes.containers[0]] == [int(c) for c in counts]
        assert [text.get_text() for text in axes.texts] == [f"{int(c):,}" for c in counts]
        assert axes.get_title(loc="left") == f"{name}: {int(sum(counts)):,} images"


def test_samples_are_ten_of_each_class():
    labels = np.array([0, 1] * 15)
    figure = figures.samples(flat_images(30), labels, ["no", "yes"])
    assert pictures(figure) == [*range(0, 20, 2), *range(1, 20, 2)]
    assert [text.get_text() for text in figure.axes[0].texts] == ["no", "yes"]


def test_samples_of_many_classes_are_one_each():
    labels = np.arange(60) // 2
    names = [f"class {i}" for i in range(30)]
    figure = figures.samples(flat_images(60), labels, names)
    assert pictures(figure) == list(range(0, 60, 2))
    assert captions(figure) == [[name] for name in names]


def test_grey_filters_are_white_at_zero():
    weights = np.linspace(-0.2, 0.4, 8 * 9).reshape(8, 1, 3, 3)
    axes, bar = figures.filters(weights).axes
    (image,) = axes.images
    assert image.get_clim() == pytest.approx((-0.4, 0.4))
    assert min(image.to_rgba(np.array([0.0]))[0][:3]) > 0.95
    shown = image.get_array().compressed()
    np.testing.assert_allclose(np.unique(shown), weights.ravel().astype(np.float32))
    assert bar.get_title(loc="left") == "weight"


def test_filters_of_colour_images_have_colours():
    weights = np.zeros((2, 3, 2, 2))
    weights[0, 0], weights[1, 2, 0] = 0.5, -0.25
    (axes,) = figures.filters(weights).axes
    shown = {tuple(x) for x in np.asarray(sheet_of(axes)).reshape(-1, 3).tolist()}
    assert shown - {(255, 255, 255)} == {(255, 128, 128), (128, 128, 64), (128, 128, 128)}
    with pytest.raises(ValueError, match="1 or 3"):
        figures.filters(np.zeros((2, 2, 3, 3)))


def test_feature_maps_are_on_one_scale_and_64_at_most():
    maps = np.random.RandomState(0).randn(100, 7, 5)
    figure = figures.feature_maps("blocks.0", maps)
    shown = sheet_of(figure.axes[0]).compressed()
    np.testing.assert_allclose(np.unique(shown), np.unique(maps[:64].astype(np.float32)))
    assert figure.texts[0].get_text() == "feature maps of layer blocks.0: 64 of 100, 7x5 each"
    # Signed values have white in their middle, others begin at 0.
    image = figure.axes[0].images[-1]
    assert image.get_clim() == pytest.approx((-np.abs(maps[:64]).max(), np.abs(maps[:64]).max()))
    assert min(image.to_rgba(np.array([0.0]))[0][:3]) > 0.95
    image = figures.feature_maps("1", np.abs(maps)).axes[0].images[-1]
    assert image.get_clim() == pytest.approx((0, np.abs(maps[:64]).max()))


@pytest.mark.parametrize("count", [2, 10, 23])
def test_output_strip_holds_every_value_above_its_class(count):
    values = np.random.RandomState(1).dirichlet(np.full(count, 0.5))
    (axes,) = figures.output_strip(values, [f"c{i}" for i in range(count)]).axes
    table = np.asarray(sheet_of(axes).filled(np.nan))
    np.testing.assert_allclose(table[np.isfinite(table)], values)
    texts = [text.get_text() for text in axes.texts]
    assert texts[::2] == [f"{value:.2f}" for value in values]
    assert texts[1::2] == [f"c{i}" for i in range(count)]
    assert axes.images[0].get_clim() == (0, 1)  # 0.36 isn't as bright as 1
    assert axes.get_title(loc="left") == "probabilities of the classes"
    bold = [text.get_text() for text in axes.texts if text.get_weight() == "bold"]
    assert bold[1:] == [f"c{values.argmax()}"]


CASES = {
    "two": (2, 1, 5, ["no", "$x^{$"]),
    "colour": (3, 3, 33, ["red", "green", "blue"]),
    "long": (10, 1, 28, ["ankle boot", *["a name that goes on and on and on"] * 9]),
    "large": (4, 3, 420, ["a", "b", "c", "d"]),
    "many": (40, 1, 8, [f"class number {i}" for i in range(40)]),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", CASES)
def test_all_render_and_no_text_is_cut_off_or_overlaps(case, monkeypatch):
    count, channels, size, names = CASES[case]
    random = np.random.RandomState(0)
    images = random.randint(0, 255, (60, channels, size, size)).astype(np.uint8)
    labels, guess = random.randint(0, count, (2, 60))
    table = probabilities(guess, random.uniform(0.6, 1, 60), count)
    counts = np.bincount(labels * count + guess, minlength=count**2).reshape(count, count)
    scores = random.uniform(0.2, 1, (3, count))
    for figure in (
        figures.confusion_matrix(counts, names, "title"),
        figures.per_class(*scores, names),
        figures.confusions(images, labels, guess, names),
        figures.mistakes(images, labels, table, names),
        figures.predictions(images[:9], table[:9], names, labels[:9]),
        figures.reliability(table, labels),
        figures.recalibrated(table, table, labels, 12.345),
        figures.risk_coverage(random.uniform(0, 0.5, 60), 0.25),
        figures.foreign(
            {
                name: {each: random.randn(50) for each in ("mnist", "kmnist", "digits")}
                for name in ("largest probability", "largest logit", "energy")
            }
        ),
        figures.class_distribution({"train": counts.sum(1), "test": counts.sum(0)}, names),
        figures.samples(images, labels, names),
        figures.filters(random.randn(20, channels, 3, 3)),
        figures.feature_maps("3", random.randn(20, size, size)),
        figures.output_strip(table[0], names),
    ):
        boxes = written(figure, monkeypatch)
        assert boxes
        width, height = figure.bbox.width, figure.bbox.height
        for box in boxes:
            assert box.x0 > -1
            assert box.y0 > -1
            assert box.x1 < width + 1
            assert box.y1 < height + 1
        for index, one in enumerate(boxes):
            for other in boxes[:index]:
                across = min(one.x1, other.x1) - max(one.x0, other.x0)
                down = min(one.y1, other.y1) - max(one.y0, other.y0)
                assert across < 1.5 or down < 1.5, figure


def written(figure, monkeypatch) -> list:
    """Where level texts are drawn; the extent of turned ones is larger than they are."""
    boxes, draw = {}, matplotlib.text.Text.draw

    def note(text, renderer):
        if text.get_visible() and text.get_text() and not text.get_rotation() % 90:
            boxes[text] = text.get_window_extent(renderer)
        draw(text, renderer)

    with monkeypatch.context() as patch:
        patch.setattr(matplotlib.text.Text, "draw", note)
        FigureCanvasAgg(figure).draw()
    return list(boxes.values())


def test_embedding_names_each_class_in_its_middle():
    points = np.array([[0, 0], [2, 0], [1, 5], [9, 9]])
    (axes,) = figures.embedding(points, [0, 0, 0, 2], ["a", "b", "$c"]).axes
    assert [(t.get_text(), t.get_position()) for t in axes.texts] == [("a", (1, 0)), ("$c", (9, 9))]
    (dots,) = axes.collections
    np.testing.assert_array_equal(dots.get_offsets(), points)
    colors = dots.to_rgba([0, 1, 2])
    assert len(np.unique(colors, axis=0)) == 3


def test_a_notebook_shows_a_figure_by_itself():
    figure = figures.output_strip([0.2, 0.8], ["a", "b"])
    picture = matplotlib.image.imread(BytesIO(figure._repr_png_()))
    np.testing.assert_allclose(picture.shape[1::-1], 100 * figure.get_size_inches(), atol=1)

"""The figures: what is drawn where."""

from io import BytesIO

import matplotlib.image
import numpy as np
import pytest
import torch
from matplotlib.layout_engine import ConstrainedLayoutEngine

from mnist_lab import figures

COUNTS = np.array([[50, 3, 0], [0, 41, 9], [1, 0, 120]])
NAMES = ["cat", "dog", "ox"]
HISTORY = {
    "train/loss": [2.0, 1.0, 0.5, 0.25],
    "val/loss": [1.9, 1.1, 0.7, 0.8],
    "train/accuracy": [0.3, 0.6, 0.8, 0.9],
    "val/accuracy": [0.4, 0.5, 0.75, 0.7],
    "lr": [0.1, 0.1, 0.1, 0.1],
}


def rendered(figure) -> np.ndarray:
    """The pixels of the figure's PNG."""
    assert isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=50)
    assert file.getvalue().startswith(b"\x89PNG\r\n\x1a\n")
    file.seek(0)
    return matplotlib.image.imread(file)


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
    assert axes.get_title() == "test"


def test_confusion_matrix_colours_mistakes_alone():
    (axes,) = figures.confusion_matrix(COUNTS, NAMES).axes
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array(), [[0, 3, 0], [0, 0, 9], [1, 0, 0]])
    assert image.get_clim() == (0, 9)
    # Row 0 on top, as in the matrix.
    assert image.origin == "upper"
    assert axes.yaxis_inverted()
    colours = {text.get_text(): text.get_color() for text in axes.texts}
    assert colours["9"] == "white"  # on the darkest cell
    assert {colours[x] for x in ("50", "41", "120", "1", "3")} == {"black"}


def test_curves_are_the_history():
    loss, accuracy = figures.curves(HISTORY, best_epoch=2).axes
    epochs, chosen = [0, 1, 2, 3], ([2, 2], [0, 1])
    assert lines(loss) == {
        "train": (epochs, HISTORY["train/loss"]),
        "validation": (epochs, HISTORY["val/loss"]),
        "chosen: 2": chosen,
    }
    assert lines(accuracy) == {
        "train": (epochs, HISTORY["train/accuracy"]),
        "validation": (epochs, HISTORY["val/accuracy"]),
        "chosen: 2": chosen,
    }
    for axes, quantity in ((loss, "loss"), (accuracy, "accuracy")):
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", quantity)
        shown = [text.get_text() for text in axes.get_legend().get_texts()]
        assert shown == ["train", "validation", "chosen: 2"]


def test_curves_leave_out_what_is_missing():
    history = {"train/loss": [2.0, 1.0], "train/accuracy": [0.5, 0.6], "val/accuracy": []}
    loss, accuracy = figures.curves(history).axes
    assert lines(loss) == {"train": ([0, 1], [2.0, 1.0])}
    assert lines(accuracy) == {"train": ([0, 1], [0.5, 0.6])}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("classes", "size"),
    [(2, 1), (10, 12)],
)
def test_confusion_matrices_render_without_warnings(classes, size):
    counts = np.random.RandomState(0).poisson(5, (classes, classes))
    names = ["x" * size] * classes
    blank = rendered(figures.confusion_matrix(np.zeros_like(counts), names))
    pixels = rendered(figures.confusion_matrix(counts, names))
    assert pixels.shape == blank.shape
    assert (pixels != blank).any()


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

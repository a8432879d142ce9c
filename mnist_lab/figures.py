"""Arrays in, matplotlib figures out; knows nothing else of this package."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike


def confusion_matrix(counts: ArrayLike, classes: Sequence[str], title: str = "") -> Figure:
    """Counts `(K, K)`, rows the truth, columns the prediction.

    Colour shows the mistakes alone, which the diagonal would outshine.
    """
    matrix = np.asarray(counts)
    mistakes = matrix * (1 - np.eye(len(matrix), dtype=int))
    size = max(4.0, 0.62 * len(classes))
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(1, mistakes.max()))
    for row, column in np.ndindex(*matrix.shape):
        if count := int(matrix[row, column]):
            dark = mistakes[row, column] > 0.6 * mistakes.max()
            axes.text(
                column,
                row,
                str(count),
                ha="center",
                va="center",
                fontsize=8,
                weight="bold" if row == column else "normal",
                color="white" if dark else "black",
            )
    axes.set(
        xlabel="prediction",
        ylabel="truth",
        xticks=range(len(classes)),
        yticks=range(len(classes)),
        title=title,
    )
    long = max(map(len, classes)) > 3
    axes.set_xticklabels(classes, rotation=45 if long else 0, ha="right" if long else "center")
    axes.set_yticklabels(classes)
    return figure


def curves(history: Mapping[str, Sequence[float]], best_epoch: int | None = None) -> Figure:
    """Loss and accuracy of train and validation by epoch; the chosen epoch is marked.

    Args:
        history: values per epoch under `train/loss`, `val/loss`, `train/accuracy` and
            `val/accuracy`, from epoch 0 on, NaN where there is none; a missing series is left out.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, color in (("train", "#0072B2"), ("val", "#D55E00")):
            values = np.asarray(history.get(f"{split}/{quantity}", []), dtype=float)
            (epochs,) = np.nonzero(np.isfinite(values))
            if len(epochs):
                label = "validation" if split == "val" else split
                axes.plot(epochs, values[epochs], "o-", ms=3, color=color, label=label)
        if best_epoch is not None:
            axes.axvline(best_epoch, color="grey", ls=":", lw=1, label=f"chosen: {best_epoch}")
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    return figure

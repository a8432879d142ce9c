"""Numbers: learning curves, confusion matrix, values by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from mnist_lab.reports.figures.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    SMALL,
    TEXT,
    VERMILLION,
    Figure,
    ink_on,
    restrained,
    shortened,
    width_of,
)

_PAGE = 9.2  # inches that a report shows without making them smaller


def confusion_matrix(counts: ArrayLike, classes: Sequence[str], title: str = "") -> Figure:
    """Counts `(K, K)`, rows the truth, columns the prediction.

    Mistakes are orange by their number (its square root, so that few are seen beside many), the
    diagonal is blue by recall: it would outshine them on one scale.
    """
    matrix, count = np.asarray(counts), len(classes)
    diagonal = np.eye(count, dtype=bool)
    right = np.ma.masked_where(~diagonal, np.diag(matrix.diagonal() / np.maximum(matrix.sum(1), 1)))
    wrong = np.where(diagonal, 0, matrix)
    names = shortened(classes)
    margin = width_of(names, SMALL)
    cell = max(2.4 / count, min(0.48, max(0.17, (_PAGE - 0.6 - margin) / count)))
    figure = Figure(
        figsize=(cell * count + margin + 0.6, cell * count + margin + 0.75), layout="constrained"
    )
    axes = figure.add_subplot()
    restrained(axes, title, grid="none")
    norm = PowerNorm(0.5, vmin=0, vmax=max(10, wrong.max()))
    mistakes = axes.imshow(wrong, cmap="Oranges", norm=norm)
    hits = axes.imshow(right, cmap="Blues", vmin=0, vmax=1.2)
    digits = len(str(int(matrix.max())))
    size = min(TEXT, 72 * cell * 0.85 / (0.7 * digits))
    for row, column in np.argwhere((matrix > 0) | diagonal):
        shown, image = (right, hits) if row == column else (wrong, mistakes)
        color = image.to_rgba(shown[row : row + 1, column])[0]
        axes.text(
            column,
            row,
            str(int(matrix[row, column])),
            ha="center",
            va="center",
            fontsize=size,
            weight="bold" if row == column else "normal",
            color=ink_on(color),
            in_layout=False,
        )
    axes.set(xlabel="prediction", ylabel="truth", xticks=range(count), yticks=range(count))
    fits = max(width_of([name], SMALL) for name in names) < 0.9 * cell
    turned: dict[str, Any] = (
        {} if fits else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    )
    axes.set_xticklabels(names, parse_math=False, **turned)
    axes.set_yticklabels(names, parse_math=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    # White lines between the cells.
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", lw=1.0)
    axes.tick_params(which="both", length=0)
    return figure


def curves(history: Mapping[str, Sequence[float]], best_epoch: int | None = None) -> Figure:
    """Loss and accuracy of train and validation by epoch, from 1; the chosen epoch is marked.

    Where the first epoch alone takes more than two thirds of an axis, a second row shows both
    quantities without it.

    Args:
        history: values per epoch under `train/loss`, `val/loss`, `train/accuracy` and
            `val/accuracy`, NaN where there is none; a missing series is left out.
        best_epoch: place of the chosen one in these, from 0, as in `result.json`.
    """
    quantities = ("loss", "accuracy")
    rows = 2 if any(_dwarfed(history, quantity) for quantity in quantities) else 1
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(9, 3.3 * rows), layout=layout)
    for row, pair in enumerate(figure.subplots(rows, 2, squeeze=False)):
        for axes, quantity in zip(pair, quantities, strict=True):
            restrained(axes, f"{quantity}, from epoch 2 on" if row else quantity)
            _lines(axes, history, quantity, first=row)
            if best_epoch is not None and best_epoch >= row:
                chosen = best_epoch + 1
                label = f"chosen: {chosen}"
                axes.axvline(chosen, color=MUTED, ls=(0, (2, 2)), lw=1, label=label, zorder=1)
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=SMALL, frameon=False)
    return figure


def per_class(
    precision: ArrayLike, recall: ArrayLike, f1: ArrayLike, classes: Sequence[str]
) -> Figure:
    """Precision, recall and F1 `(K,)` as points, with F1 as a number beside.

    NaN, which a class without images has, is a dash.
    """
    series = {"precision": precision, "recall": recall, "F1": f1}
    values = {name: np.asarray(shares, dtype=float) for name, shares in series.items()}
    lowest = min(shares[np.isfinite(shares)].min(initial=1.0) for shares in values.values())
    begin = max(0.0, np.floor((lowest - 0.02) * 20) / 20)
    count = len(classes)
    row = float(np.interp(count, [10, 40], [0.3, 0.22]))
    figure = Figure(figsize=(7.5, row * count + 1.1), layout="constrained")
    axes = figure.add_subplot()
    restrained(axes, "precision, recall and F1 of shares class", grid="both")
    points = zip(values.items(), (BLUE, ORANGE, GREEN), "<>D", strict=True)
    for (name, shares), color, marker in points:
        axes.plot(shares, np.arange(count), marker, color=color, ms=6, alpha=0.9, label=name,
                  clip_on=False, zorder=3)  # fmt: skip
    beside = axes.get_yaxis_transform()
    for index, value in enumerate(values["F1"]):
        text = f"{value:.3f}" if np.isfinite(value) else "-"
        axes.text(1.02, index, text, va="center", size=SMALL, color=INK, transform=beside)
    axes.set_xlim(begin, 1)
    _row_per_class(axes, shortened(classes))
    axes.legend(
        ncols=3, fontsize=SMALL, frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0)
    )
    return figure


def class_distribution(counts_by_split: Mapping[str, ArrayLike], classes: Sequence[str]) -> Figure:
    """How many images of each class there are: counts `(K,)` by split, each on its own scale."""
    count, splits = len(classes), len(counts_by_split)
    row = float(np.interp(count, [10, 40], [0.27, 0.19]))
    names = shortened(classes)
    width = max(5.0, 2.6 * splits + width_of(names, SMALL))
    figure = Figure(figsize=(width, row * count + 1.0), layout="constrained")
    panels = figure.subplots(1, splits, sharey=True, squeeze=False)[0]
    for axes, (split, given) in zip(panels, counts_by_split.items(), strict=True):
        counts = np.asarray(given)
        name = "validation" if split == "val" else split
        restrained(axes, f"{name}: {int(counts.sum()):,} images", grid="x")
        axes.barh(np.arange(count), counts, 0.72, color=BLUE)
        room = max(1, counts.max())
        for index, value in enumerate(counts):
            axes.text(
                value + 0.02 * room, index, f"{int(value):,}", va="center", size=SMALL, color=INK
            )
        axes.set(xlim=(0, 1.22 * room), xlabel="images")
        _row_per_class(axes, names)
        axes.locator_params(axis="x", nbins=4, integer=True)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return figure


def _row_per_class(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _lines(axes: Axes, history: Mapping[str, Sequence[float]], quantity: str, first: int) -> None:
    """Train and validation of a quantity by epoch, from `first` on."""
    for split, name, color in (("train", "train", BLUE), ("val", "validation", VERMILLION)):
        epochs, values = _series(history, f"{split}/{quantity}", first)
        if len(epochs):
            axes.plot(epochs + 1, values, "o-", ms=3, lw=1.5, color=color, label=name)


def _series(
    history: Mapping[str, Sequence[float]], name: str, first: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Epochs, from `first` on, that have a value, and these."""
    values = np.array(history.get(name, []), dtype=float)
    (epochs,) = np.nonzero(np.isfinite(values))
    epochs = epochs[epochs >= first]
    return epochs, values[epochs]


def _dwarfed(history: Mapping[str, Sequence[float]], quantity: str) -> bool:
    """Whether the first epoch leaves the others less than a third of the axis."""
    names = (f"train/{quantity}", f"val/{quantity}")
    later = [_series(history, name, 1)[1] for name in names]
    every = np.concatenate([_series(history, name, 0)[1] for name in names])
    several = max(map(len, later)) >= 2
    return several and bool(np.ptp(every) > 3 * np.ptp(np.concatenate(later)))

"""Inside a network: its filters, what they make of an image, and what comes of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike

from mnist_lab.reports.figures.style import (
    SMALL,
    Figure,
    ink_on,
    restrained,
    sheet,
    shortened,
    width_of,
)

_MOST = 64  # filters or maps in one figure


def filters(weights: ArrayLike) -> Figure:
    """The first 64 filters `(O, C, H, W)`: grey ones from negative (orange) over zero (white) to
    positive (purple), those for colour images in their own colours around grey.

    Raises:
        ValueError: neither one input channel nor three.
    """
    kernels = np.asarray(weights, dtype=np.float32)
    if kernels.ndim != 4 or kernels.shape[1] not in (1, 3):
        raise ValueError(f"filters must be (O, 1 or 3, H, W), not {kernels.shape}")
    shown = kernels[:_MOST]
    title = _title("filters of the first layer", len(kernels), shown.shape[2:])
    reach = float(np.abs(shown).max()) or 1.0
    if kernels.shape[1] == 1:
        colors: dict[str, Any] = {"cmap": "PuOr", "vmin": -reach, "vmax": reach}
        return sheet(shown[:, 0], title, bar="weight", **colors).figure
    pixels = np.round(127.5 + 127.5 / reach * np.moveaxis(shown, 1, -1)).astype(np.uint8)
    return sheet(pixels, title).figure


def feature_maps(name: str, maps: ArrayLike) -> Figure:
    """The first 64 of a layer's maps `(C, H, W)` for one image, on one scale.

    It begins at 0, dark, where no value is below; else negative values are orange, zero is white
    and positive ones are purple, as in `filters`.
    """
    outputs = np.asarray(maps, dtype=np.float32)
    title = _title(f"feature maps of layer {name}", len(outputs), outputs.shape[1:])
    step = -(-max(outputs.shape[1:]) // 200)
    shown = outputs[:_MOST, ::step, ::step]
    columns = 16 if len(shown) > 16 else None
    reach = float(np.abs(shown).max()) or 1.0
    signed = bool((shown < 0).any())
    colors: dict[str, Any] = {"cmap": "PuOr" if signed else "viridis"}
    colors["vmin"] = -reach if signed else 0.0
    return sheet(shown, title, columns=columns, bar="output", **colors, vmax=reach).figure


def output_strip(values: ArrayLike, classes: Sequence[str]) -> Figure:
    """The classes' probabilities `(K,)` for one image as a colour strip from 0 to 1, ten at most
    in a line."""
    shares = np.asarray(values, dtype=np.float64)
    count = len(shares)
    names = shortened(classes)
    cell = max(0.72, width_of(names, SMALL) * 1.1 + 0.1)
    columns = min(count, 10, int(9 / cell))
    rows = -(-count // columns)
    # Every second line is empty: the names of the classes above it.
    table = np.full((2 * rows, columns), np.nan)
    padded = np.full(rows * columns, np.nan)
    padded[:count] = shares
    table[::2] = padded.reshape(rows, columns)
    width = max(3.0, cell * columns + 0.3)
    figure = Figure(figsize=(width, 0.66 * rows + 0.3), layout="constrained")
    axes = figure.add_subplot()
    restrained(axes, "probabilities of the classes", grid="none")
    image = axes.imshow(
        table, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="nearest"
    )
    axes.set_axis_off()
    axes.set_ylim(2 * rows - 0.9, -0.5)
    strongest = int(shares.argmax())
    for index, (name, value) in enumerate(zip(names, shares, strict=True)):
        row, column = divmod(index, columns)
        weight = "bold" if index == strongest else "normal"
        plain: dict[str, Any] = {
            "ha": "center",
            "size": SMALL,
            "weight": weight,
            "parse_math": False,
        }
        color = ink_on(image.to_rgba(np.array([value]))[0])
        axes.text(column, 2 * row, f"{value:.2f}", va="center", color=color, **plain)
        axes.text(column, 2 * row + 0.62, name, va="top", **plain)
    return figure


def embedding(points: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> Figure:
    """Points `(N, 2)`, coloured by their labels `(N,)`, with each class's name in its middle."""
    places, truth = np.asarray(points, dtype=float), np.asarray(labels)
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    axes = figure.add_subplot()
    restrained(axes, f"{len(places):,} images as the last layer sees them", grid="none")
    few, names = len(classes) <= 10, shortened(classes)
    axes.scatter(
        places[:, 0],
        places[:, 1],
        c=truth,
        s=9,
        linewidths=0,
        alpha=0.8,
        cmap="tab10" if few else "turbo",
        vmin=0,
        vmax=9 if few else len(classes) - 1,
    )
    for index in np.unique(truth):
        outlined = [withStroke(linewidth=3, foreground="white")]
        plain: dict[str, Any] = {"parse_math": False, "path_effects": outlined, "weight": "bold"}
        x, y = np.median(places[truth == index], axis=0)
        axes.text(x, y, names[index], size=14, ha="center", va="center", **plain)
    axes.set(xticks=[], yticks=[])
    axes.set_frame_on(False)
    return figure


def _title(what: str, count: int, size: Sequence[int]) -> str:
    number = f"{_MOST} of {count:,}" if count > _MOST else f"{count}"
    return f"{what}: {number}, {size[0]}x{size[1]} each"

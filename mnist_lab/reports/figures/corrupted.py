"""Corrupted images, with the errors that they cause."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from mnist_lab.reports.figures.style import (
    BLUE,
    INK,
    MUTED,
    SMALL,
    TEXT,
    VERMILLION,
    Figure,
    restrained,
    rgb,
    sheet,
)

_BARS = 2.4  # inches


def corruptions(
    images: Mapping[str, ArrayLike],
    errors: Mapping[str, float] | None = None,
    clean: float | None = None,
) -> Figure:
    """A row of images for each corruption, and its error as a bar.

    Args:
        images: by the corruption's name, each as many, `(N, C, H, W)`.
        errors: shares of images that were not recognised, by the same names; without them there
            are no bars.
        clean: the share of uncorrupted images, a dashed line.
    """
    names = list(images)
    rows = [rgb(each) for each in images.values()]
    words = [name.replace("_", " ") for name in names]
    title = "corrupted images" if errors is None else "corrupted images and their errors"
    count = len(rows[0])
    page = sheet(
        np.concatenate(rows),
        title,
        columns=count,
        headings=words,
        spare=0.0 if errors is None else _BARS,
    )
    for row, text in enumerate(words):
        page.heading(row * count, text)
    if errors is None:
        return page.figure
    place, (width, _) = page.axes.get_position(), page.figure.get_size_inches()
    axes = page.figure.add_axes((place.x1 + 0.05 / width, place.y0, (_BARS - 0.2) / width,
                                 place.height))  # fmt: skip
    restrained(axes, grid="none")
    axes.set_axis_off()
    middles = [page.corners[row * count][1] + page.picture / 2 for row in range(len(names))]
    values = [errors[name] for name in names]
    axes.barh(middles, values, 0.4 * page.picture, color=BLUE)
    room = max(0.01, *values, clean or 0.0)
    for middle, value in zip(middles, values, strict=True):
        text = f"{100 * value:.2f} %"
        axes.text(value + 0.03 * room, middle, text, va="center", size=TEXT, color=INK)
    if clean is not None:
        axes.axvline(clean, color=VERMILLION, ls=(0, (3, 2)), lw=1)
        axes.text(clean, -0.06, f"uncorrupted: {100 * clean:.2f} %", size=SMALL, color=MUTED)
    axes.set(xlim=(0, 1.4 * room), ylim=page.axes.get_ylim())
    return page.figure

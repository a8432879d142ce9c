"""Images that an attack has changed a network's mind on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mnist_lab.reports.figures.style import (
    INK,
    VERMILLION,
    Figure,
    message,
    rgb,
    sheet,
    shortened,
)

_COLUMNS = 8


def attacked(
    images: ArrayLike,
    changed: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
) -> Figure:
    """Rows of images that are recognised, with their truth, each above what was made of it.

    Args:
        changed: as many, attacked, which aren't recognised.
        labels: `(N,)`.
        probabilities: `(N, K)`, of the attacked ones: told is the most probable class.
    """
    title = "images that changed the network's mind"
    truth, shares = np.asarray(labels), np.asarray(probabilities)
    count = len(truth)
    if not count:
        return message(title, "None: all that was recognised still is.")
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    before, after = rgb(images), rgb(changed)
    cells = np.full((rows, 2, columns, *before.shape[1:]), 255, np.uint8)
    names = shortened(classes)
    are = [f"is {names[label]}" for label in truth]
    said = [f"{names[share.argmax()]}, {100 * share.max():.1f} %" for share in shares]
    places = [divmod(index, columns) for index in range(count)]
    for index, (row, column) in enumerate(places):
        cells[row, 0, column], cells[row, 1, column] = before[index], after[index]
    page = sheet(
        cells.reshape(-1, *before.shape[1:]), title, columns=columns, captions=[*are, *said],
        lines=1,
    )  # fmt: skip
    for index, (row, column) in enumerate(places):
        upper = 2 * row * columns + column
        page.caption(upper, 0, are[index], INK)
        page.caption(upper + columns, 0, said[index], VERMILLION)
    return page.figure

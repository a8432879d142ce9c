"""Which columns of a table are pixels and which the label, by their names or by their values."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mnist_lab import first_few
from mnist_lab.data.base import FileError
from mnist_lab.data.idx import Numbers

COUNT = 28 * 28
PIXELS = [f"pixel{i}" for i in range(COUNT)]
_LABELS = {"label", "labels", "class", "target", "digit", "y"}
_IDS = {"", "unnamed: 0", "id", "index", "imageid", "image_id", "row", "row_id"}


@dataclass
class Layout:
    """Which columns are the pixels, in their order, and which is the label.

    `understood` says how the table is read, as far as that isn't plainly Kaggle's form.
    """

    pixels: list[int]
    label: int | None = None
    understood: list[str] = field(default_factory=list)

    def scale_of(self, values: Numbers) -> float:
        """What to multiply by, going by the first rows: 255, if they are fractions up to 1."""
        pixels = values[:, self.pixels]
        if pixels.dtype == bool:
            self.understood.append("true is 255")
            return 255
        within = bool(((pixels >= 0) & (pixels <= 1)).all())  # not so of NaN
        if within and bool((pixels % 1 != 0).any()):
            self.understood.append("values from 0 to 1, taken times 255")
            return 255
        return 1


def is_header(names: Sequence[str], path: Path) -> bool:
    """Whether a table's first line names its columns; else it has numbers.

    Raises:
        FileError: it has numbers with decimal commas.
    """
    if set(_pixel_names([name.lower() for name in names])) <= {name.lower() for name in names}:
        return True  # pandas numbers columns without names, too
    if not all(is_number(name.replace(",", ".")) for name in names):
        return True
    with_comma = [name for name in names if "," in name]
    if with_comma:
        raise FileError(f"{path}: {with_comma[0]} has a decimal comma; a point is needed")
    return False


def layout_of_names(names: Sequence[str], path: Path) -> Layout:
    """The layout of a table with these columns.

    Pixels are numbered from 0 or 1, whatever they are called, or named by row and column, `1x1`,
    `1x2`, ..., in any order.

    Raises:
        FileError: columns are missing, unknown or there twice.
    """
    lowered = [name.lower() for name in names]
    expected = _pixel_names(lowered)
    others = [i for i, name in enumerate(lowered) if name not in set(expected)]
    labels = [i for i in others if lowered[i] in _LABELS]
    ids = [i for i in others if lowered[i] in _IDS]
    faults = {
        "missing": [name for name in expected if name not in set(lowered)],
        "additional": [names[i] for i in others if i not in {*labels[:1], *ids}],
    }
    if any(faults.values()):
        parts = (f"{kind}: {first_few(columns)}" for kind, columns in faults.items() if columns)
        raise FileError(f"{path}: columns {'; '.join(parts)}")
    twice = [name for name, count in Counter(lowered).items() if count > 1]
    if twice:
        raise FileError(f"{path}: columns more than once: {first_few(twice)}")
    layout = Layout([lowered.index(name) for name in expected], labels[0] if labels else None)
    if expected != PIXELS:
        layout.understood.append(f"pixels are called {expected[0]} to {expected[-1]}")
    if layout.pixels != sorted(layout.pixels):
        layout.understood.append("pixels in the order of their names")
    if labels and names[labels[0]] != "label":
        layout.understood.append(f"labels are called {names[labels[0]]}")
    if labels and labels[0] == len(names) - 1:
        layout.understood.append("the label is last")
    layout.understood += [f"column {names[i]!r} is left out" for i in ids]
    return layout


def layout_of_values(values: Numbers, path: Path, classes: int) -> Layout:
    """The layout of a table without names, by its first rows `(N, columns)`.

    Raises:
        FileError: there are too few or too many columns, or the label could be the first or last.
    """
    columns, layout = list(range(values.shape[1])), Layout([])
    counts = values[0, 0] in (0, 1) and (np.diff(values[:, 0]) == 1).all()
    if len(columns) > COUNT and counts and (len(columns) > COUNT + 1 or values[-1, 0] >= classes):
        layout.understood.append("the first column counts, and is left out")
        del columns[0]
    if len(columns) == COUNT + 1:
        ends = values[:, columns[0]], values[:, columns[-1]]
        first, last = (_is_label(*pair, classes) for pair in (ends, ends[::-1]))
        if first == last:
            raise FileError(
                f"{path}: {len(columns)} columns without names: whether the first or the last is "
                "the label cannot be told; name them, label and pixel0 to pixel783"
            )
        layout.label = columns.pop(0 if first else -1)
        layout.understood.append(f"the {'first' if first else 'last'} column is the label")
    if len(columns) != COUNT:
        raise FileError(f"{path}: {len(columns)} columns without names; {COUNT} make an image")
    layout.pixels = columns
    return layout


def is_number(text: str) -> bool:
    """Whether it is one, infinite or none (NaN) included."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _pixel_names(names: Sequence[str]) -> list[str]:
    """The names of pixels, in order, that these names come nearest to."""
    prefixes = Counter(name.rstrip("0123456789") for name in names if name[-1:].isdecimal())
    styles = [PIXELS]
    for prefix, _ in prefixes.most_common(2):
        styles += [[f"{prefix}{i + base}" for i in range(COUNT)] for base in (0, 1)]
    for base in (1, 0):
        sides = range(base, base + 28)
        styles.append([f"{row}x{column}" for row in sides for column in sides])
    known = set(names)
    return max(styles, key=lambda style: len(known.intersection(style)))


def _is_label(column: Numbers, opposite: Numbers, classes: int) -> bool:
    """Whether it must be this column, and the one at the opposite end a corner of the images."""

    def fits(values: Numbers) -> bool:
        return bool(((values >= 0) & (values < classes) & (values % 1 == 0)).all())

    def varies(values: Numbers) -> bool:
        return bool((values != values[0]).any())

    return fits(column) and (not fits(opposite) or (varies(column) and not varies(opposite)))

"""Ruled, squared and margin lines: found across the whole page, and taken out of the ink."""

import numpy as np

from mnist_lab.data.ink import Pixels

_SLOPES = np.arange(-0.125, 0.1251, 0.004)  # to 7 degrees
_STRIPS = 48  # a line is known by the strips across the page in which it is seen


def without_lines(ink: Pixels, level: float) -> Pixels:
    """The same without straight thin lines that cross the whole page, strokes over them whole.

    Args:
        ink: `(H, W)`.
        level: what is more than nothing.
    """
    upright = _without_rows(ink.T, level).T
    return _without_rows(upright, level)


def _without_rows(ink: Pixels, level: float) -> Pixels:
    """Without the lines that lie nearly as the rows do."""
    height, width = ink.shape
    strip = max(1, width // _STRIPS)
    there = (ink[:, : width // strip * strip] / level).clip(0, 1)
    there = there.reshape(height, -1, strip).mean(-1)
    if min(there[:, :2].max(), there[:, -2:].max()) < 0.4:
        return ink  # nothing reaches both sides
    cover, rows = _coverage(there, strip, width)
    reach = max(3, round(0.02 * min(ink.shape)))
    columns = np.arange(width)
    ink = ink.copy()
    while cover.max() > 0.72:
        k, at = np.unravel_index(cover.argmax(), cover.shape)
        near = np.ix_(np.abs(_SLOPES - _SLOPES[k]) < 0.03, np.abs(rows - rows[at]) <= 3)
        cover[near] = 0  # the same line once more
        line = np.round(rows[at] + _SLOPES[k] * (columns - width / 2)).astype(int)
        inside = (line >= 0) & (line < height)
        _erase(ink, line[inside], columns[inside], reach)
    return ink


def _coverage(there: Pixels, strip: int, width: int) -> tuple[Pixels, np.ndarray]:
    """How much of each line, by slope and by its row in the middle, is ink (a Hough transform).

    It is 0 for lines of which the page shows but a part, and those that end before its sides.
    """
    height, count = there.shape
    shifts = np.round(_SLOPES[:, None] * ((np.arange(count) + 0.5) * strip - width / 2)).astype(int)
    most = int(np.abs(shifts).max())
    padded = np.full((height + 4 * most, count), np.nan, np.float32)
    padded[2 * most : 2 * most + height] = there
    rows = np.arange(-most, height + most)
    cover = np.zeros((len(_SLOPES), len(rows)), np.float32)
    for k, shift in enumerate(shifts):
        along = padded[rows[:, None] + 2 * most + shift, np.arange(count)]
        seen = ~np.isnan(along)
        along[~seen] = 0
        ends = [
            np.take_along_axis(along, (at[:, None] + np.arange(3) * step).clip(0, count - 1), 1)
            for at, step in ((seen.argmax(1), 1), (count - 1 - seen[:, ::-1].argmax(1), -1))
        ]
        whole = (seen.sum(1) > 0.35 * count) & (ends[0].max(1) > 0.4) & (ends[1].max(1) > 0.4)
        cover[k, whole] = along[whole].sum(1) / seen[whole].sum(1)
    return cover, rows


def _erase(ink: Pixels, line: np.ndarray, columns: np.ndarray, reach: int) -> None:
    """Take out one line where it is thin; where ink goes on at both sides of it, it stays."""
    height = len(ink)
    offsets = np.arange(-2 * reach, 2 * reach + 1)
    profile = np.median(ink[(line + offsets[:, None]).clip(0, height - 1), columns], 1)
    base = float(np.sort(profile)[: 2 * reach].mean())
    low = high = 2 * reach - 2 + int(profile[2 * reach - 2 : 2 * reach + 3].argmax())
    peak = float(profile[low])
    dark = profile - base > 0.25 * (peak - base)
    while low > 0 and dark[low - 1]:
        low -= 1
    while high < len(dark) - 1 and dark[high + 1]:
        high += 1
    if high - low > 2 * reach:
        return
    band = np.arange(offsets[low] - 1, offsets[high] + 2)
    above, below = (
        ink[(line + side).clip(0, height - 1), columns] for side in (band[0] - 1, band[-1] + 1)
    )
    half = len(band) / 2
    slants = np.arange(-int(half) - 1, int(half) + 2)[:, None]  # to half a right angle
    aside = np.round(slants * (band - band.mean()) / half).astype(int)
    ends = ((columns + (aside + side)[..., None]) % len(line) for side in (-slants, slants))
    through = np.minimum(*(x[end] for x, end in zip((above, below), ends, strict=True))).max(0)
    for offset, replaced in zip(band, through, strict=True):
        rows = line + offset
        inside = (rows >= 0) & (rows < height)
        at = rows[inside], columns[inside]
        here = ink[at]  # what is much darker than the line is ink on it
        ink[at] = np.where(here > 1.6 * peak, here, np.minimum(here, replaced[inside]))

"""What all figures share: colours, type, and many small pictures in one."""

import io
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib import figure
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from numpy.typing import ArrayLike, NDArray

# Okabe and Ito's palette, which colour-blind people can tell apart.
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
INK, MUTED, FAINT = "#1A1A1A", "#5F6368", "#E3E5E8"
TITLE, TEXT, SMALL = 10.0, 9.0, 8.0  # points

DPI = 200
_PICTURE, _GAP, _MARGIN, _HEAD, _WIDTH = 0.84, 0.1, 0.15, 0.4, 8.7  # inches
_COLUMNS = 8

Array = NDArray[Any]


class Figure(figure.Figure):
    """Matplotlib's, which a notebook shows by itself: no pyplot, no `%matplotlib`."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=DPI / 2)  # a notebook keeps all that it shows
        return file.getvalue()


def shortened(names: Sequence[str], length: int = 20) -> list[str]:
    """Names in a line each that fit beside others, of which two that differ still do.

    The end of a long one is left out, or what comes before the place where it differs from those
    that begin alike.
    """
    lines = [" ".join(name.split()) for name in names]
    cut = _cut(list(dict.fromkeys(lines)), length, 0)
    return [cut[line] for line in lines] if len(set(cut.values())) == len(cut) else lines


def _cut(lines: Sequence[str], length: int, alike: int) -> dict[str, str]:
    """Forms of lines whose first characters, so many, are alike."""
    forms: dict[str, list[str]] = {}
    for line in lines:
        forms.setdefault(_form(line, length, alike), []).append(line)
    cut: dict[str, str] = {}
    for form, same in forms.items():
        columns = enumerate(zip(*same, strict=False))
        further = next((i for i, column in columns if len(set(column)) > 1), min(map(len, same)))
        if len(same) > 1 and further == alike:
            cut |= dict(zip(same, same, strict=True))
        else:
            cut |= {same[0]: form} if len(same) == 1 else _cut(same, length, further)
    return cut


def _form(line: str, length: int, alike: int) -> str:
    if len(line) <= length:
        return line
    head = line[: length // 3].rstrip() if alike else ""
    room = length - len(head) - bool(head)
    begin = max(line.rfind(" ", 0, alike) + 1, alike - room // 2)  # a whole word, if it is short
    rest = line[min(begin, len(line) - room) :]
    rest = rest if len(rest) <= room else rest[: room - 1].rstrip() + "…"
    return f"{head}…{rest}" if head else rest


def width_of(texts: Sequence[str], size: float) -> float:
    """Inches that the widest line of the texts takes."""
    font = FontProperties(size=size)
    lines = {line for text in texts for line in text.split("\n")}
    sizes = (text_to_path.get_text_width_height_descent(line, font, False) for line in lines)
    return max((width for width, *_ in sizes), default=0.0) / 72


def ink_on(color: Sequence[float]) -> str:
    """Black or white, whichever is easier to read on this colour (RGB from 0 to 1)."""
    linear = np.asarray(color[:3]) ** 2.2
    return "white" if linear @ [0.2126, 0.7152, 0.0722] < 0.18 else "black"


def restrained(axes: Axes, title: str = "", grid: Literal["both", "x", "none"] = "both") -> None:
    """Axes with a title on the left, faint lines, and nothing that isn't needed."""
    axes.set_title(title, loc="left", fontsize=TITLE, weight="bold", color=INK, parse_math=False)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
    axes.tick_params(labelsize=SMALL, color=MUTED, labelcolor=INK, length=2)
    axes.xaxis.label.set(size=TEXT, color=INK)
    axes.yaxis.label.set(size=TEXT, color=INK)
    axes.set_axisbelow(True)
    if grid != "none":
        axes.grid(axis=grid, color=FAINT, lw=0.8)


def message(title: str, text: str) -> Figure:
    """A figure for where there is nothing to show."""
    width = max(4.0, width_of([title, text], TITLE * 1.1) + 2 * _MARGIN)
    figure = Figure(figsize=(width, 1.0))
    figure.text(_MARGIN / width, 0.68, title, size=TITLE, weight="bold", color=INK)
    figure.text(_MARGIN / width, 0.32, text, size=TEXT, color=MUTED)
    return figure


def rgb(images: ArrayLike) -> Array:
    """`(N, C, H, W)` uint8 as `(N, H, W, 3)`; large ones thinned out.

    Raises:
        ValueError: neither one channel nor three.
    """
    pixels = np.asarray(images)
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise ValueError(f"images must be (N, 1 or 3, H, W), not {pixels.shape}")
    step = -(-max(pixels.shape[2:]) // 200)
    pixels = np.moveaxis(pixels[:, :, ::step, ::step], 1, -1)
    return np.broadcast_to(pixels, (*pixels.shape[:3], 3))


class Sheet(NamedTuple):
    """Pictures side by side in one figure; the axes are laid out in inches, downwards."""

    figure: Figure
    axes: Axes
    corners: list[tuple[float, float]]  # of each cell, upper left
    cell: float  # width
    picture: float  # height

    def caption(self, index: int, line: int, text: str, color: str) -> None:
        """Write below a picture; lines count from 0."""
        x, y = self.corners[index]
        y += self.picture + 0.04 + line * 0.14
        self.axes.text(x + self.cell / 2, y, text, **_SMALL, ha="center", color=color)

    def heading(self, index: int, text: str) -> None:
        """Write to the left of a row's first picture."""
        _, y = self.corners[index]
        middle: dict[str, Any] = {"va": "center", "parse_math": False, "clip_on": False}
        self.axes.text(0, y + self.picture / 2, text, size=TEXT, color=INK, **middle)


_SMALL: dict[str, Any] = {"va": "top", "size": 7.5, "parse_math": False, "clip_on": False}


def sheet(
    pictures: Array,
    title: str,
    *,
    columns: int | None = None,
    captions: Sequence[str] = (),
    lines: int = 0,
    headings: Sequence[str] = (),
    bar: str | None = None,
    spare: float = 0.0,
    **shown: Any,
) -> Sheet:
    """Lay pictures out as a grid, drawn as one image.

    Args:
        pictures: `(N, H, W, 3)` uint8, or `(N, H, W)` floats, which `shown` gives colours to.
        columns: eight, or as many as fit, unless given.
        captions: what cells must be wide enough for.
        lines: of captions below each picture.
        headings: what there must be room for on the left.
        bar: the name of what the colours mean, for a colour bar on the right.
        spare: inches to leave free on the right.
        shown: for `imshow`.
    """
    enlarge = -(-24 // max(pictures.shape[1:3]))
    pictures = pictures.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    count, height, width = pictures.shape[:3]
    # Whole dots for each pixel: all of them are equally large.
    largest = min(_PICTURE, _WIDTH / columns - _GAP) if columns else _PICTURE
    pixel = max(1, round(largest * DPI / max(height, width))) / DPI
    caption = width_of(captions, 7.5) + 0.14 if captions else 0.0
    cell_x = width + int(np.ceil(max(_GAP, caption - width * pixel) / pixel))
    cell_y = height + int(np.ceil((_GAP + 0.15 * lines) / pixel))
    left = width_of(headings, TEXT) + 0.15 if headings else 0.0
    columns = columns or int(max(1, min(count, _COLUMNS, _WIDTH // (cell_x * pixel))))
    rows = -(-count // columns)

    empty = 255 if pictures.dtype == np.uint8 else np.nan
    depth = pictures.shape[3:]
    canvas = np.full((rows, cell_y, columns, cell_x, *depth), empty, pictures.dtype)
    indent = (cell_x - width) // 2 if captions else 0
    padded = np.full((rows * columns, height, width, *depth), empty, pictures.dtype)
    padded[:count] = pictures
    target = canvas[:, :height, :, indent : indent + width]
    target[:] = np.swapaxes(padded.reshape(rows, columns, height, width, *depth), 1, 2)

    across, down = columns * cell_x * pixel, rows * cell_y * pixel
    right = spare + (0.75 if bar else 0.0)
    needed = max(left + across, width_of([title], TITLE) * 1.15)  # bold
    size = (needed + right + 2 * _MARGIN, down + _HEAD + _MARGIN / 2)
    figure = Figure(figsize=(np.ceil(size[0] * DPI) / DPI, np.ceil(size[1] * DPI) / DPI))
    size = tuple(figure.get_size_inches())
    place = (_MARGIN / size[0], 1 - (_HEAD + down) / size[1])
    axes = figure.add_axes((*place, (left + across) / size[0], down / size[1]))
    axes.set_axis_off()
    if pictures.dtype != np.uint8:
        limits = {"vmin": np.nanmin(pictures), "vmax": np.nanmax(pictures)}
        shown = {**limits, **shown}
    # Row by row: matplotlib takes 60 bytes of memory for each dot of an image.
    for row, strip in enumerate(canvas.reshape(rows, cell_y, columns * cell_x, *depth)):
        image = axes.imshow(
            strip,
            extent=(left, left + across, (row + 1) * cell_y * pixel, row * cell_y * pixel),
            aspect="auto",
            interpolation="nearest",
            **shown,
        )
    axes.set(xlim=(0, left + across), ylim=(down, 0))
    bold: dict[str, Any] = {"size": TITLE, "weight": "bold", "color": INK, "parse_math": False}
    figure.text(place[0], 1 - 0.27 / size[1], title, **bold)
    if bar:
        tall = min(down - _GAP, 2.0)
        x, y = (_MARGIN + left + across + 0.1) / size[0], 1 - (_HEAD + tall) / size[1]
        beside = figure.add_axes((x, y, 0.12 / size[0], tall / size[1]))
        colors = figure.colorbar(image, cax=beside)
        colors.outline.set_visible(False)
        beside.tick_params(labelsize=7, color=MUTED, length=2)
        beside.set_title(bar, fontsize=7, color=MUTED, loc="left")
    step_x, step_y = cell_x * pixel, cell_y * pixel
    corners = [(left + i % columns * step_x, i // columns * step_y) for i in range(count)]
    return Sheet(figure, axes, corners, step_x, height * pixel)

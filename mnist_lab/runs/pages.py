"""The table of the digits on pages, and what is told of each line."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from mnist_lab import LabError
from mnist_lab.data.inputs import Pages
from mnist_lab.data.pages import Digits, Rectangle, draw_boxes
from mnist_lab.runs import predictions
from mnist_lab.runs.trained import Trained
from mnist_lab.system.files import output_file, refuse_taken


class _Framed(NamedTuple):
    """What is drawn on a page."""

    place: int
    boxes: list[Rectangle]
    predicted: list[str]


def label_pages(
    target: Path,
    pages: Pages,
    network: Trained,
    batch_size: int,
    temperature: float,
    confident: float | None,
    boxes: Path | None,
    overwrite: bool,
) -> int:
    """Write a row a digit into `target`, print a line of text a line of digits; count the digits.

    Args:
        boxes: a folder for the pages with their digits framed, each by its name as PNG.
        overwrite: whether there may be some in it.

    Raises:
        LabError: no page is readable, or something cannot be written.
    """
    drawings = [] if boxes is None else [boxes / _as_png(name) for name in pages.names]
    for drawing in drawings:
        refuse_taken(drawing, overwrite, "boxes")
    model, classes = network.model, network.classes
    total = lines = unsure = 0
    told: list[str] = []
    framed: list[_Framed] = []
    with (
        output_file(target) as file,
        tqdm(total=pages.total, unit=" pages", disable=None) as bar,
        torch.inference_mode(),
    ):
        for place, digits in pages.digits:
            images = torch.split(torch.from_numpy(digits.images).unsqueeze(1), batch_size)
            logits = torch.cat([model(batch.to(model.device)).cpu() for batch in images])
            probabilities = (logits / temperature).softmax(1)
            table = predictions.table(
                _columns(pages.names[place], digits), probabilities, classes, confident=confident
            )
            table.write_csv(file, include_header=not total)
            predicted = table["prediction"].to_list()
            confidence = probabilities.amax(1).tolist()
            told += _told(pages.names[place], digits.lines, predicted, confidence)
            framed.append(_Framed(place, digits.boxes, predicted))
            total += len(predicted)
            lines += digits.lines[-1] + 1
            unsure += predicted.count(predictions.UNSURE)
            bar.update()
        if not total:
            raise LabError(f"none of {pages.total} readable: {pages.refused[0]}")
    print("\n".join(told))
    for place, rectangles, predicted in framed if drawings else ():
        try:
            drawings[place].parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LabError(f"boxes={boxes}: cannot be made: {error}") from error
        with output_file(drawings[place], "boxes") as file:
            draw_boxes(pages.paths[place], rectangles, predicted, file)
    among = "" if confident is None else f", {unsure} of them ?"
    count = f"{total} prediction{'s' * (total != 1)} in {lines} line{'s' * (lines != 1)}"
    print(f"{count}{among}: {target}")
    return total


def _columns(name: str, digits: Digits) -> dict[str, list[int] | list[str]]:
    """Where each digit stands; lines, and places in them, count from 1."""
    left, top, width, height = map(list, zip(*digits.boxes, strict=True))
    return {
        "file": [name] * len(digits.lines),
        "line": [line + 1 for line in digits.lines],
        "place": _places(digits.lines),
        "left": left,
        "top": top,
        "width": width,
        "height": height,
    }


def _places(lines: Sequence[int]) -> list[int]:
    return [index - lines.index(line) + 1 for index, line in enumerate(lines)]


def _told(name: str, lines: list[int], predicted: list[str], confidence: list[float]) -> list[str]:
    """Of each line its number, and the digit that is least sure."""
    told = []
    for line in range(lines[-1] + 1):
        start = lines.index(line)
        end = start + lines.count(line)
        read = predicted[start:end]
        number = ("" if max(map(len, read)) == 1 else " ").join(read)
        least = min(range(start, end), key=confidence.__getitem__)
        told.append(
            f"{name}, line {line + 1}: {number}, the least sure {predicted[least]} in place "
            f"{least - start + 1}, with a confidence of {confidence[least]:.3f}"
        )
    return told


def _as_png(name: str) -> str:
    return name if name.lower().endswith(".png") else f"{name}.png"

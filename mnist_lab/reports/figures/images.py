"""Images of a dataset, with what a model said of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mnist_lab.reports.figures.style import (
    INK,
    VERMILLION,
    Array,
    Figure,
    message,
    rgb,
    sheet,
    shortened,
)


def confusions(
    images: ArrayLike, labels: ArrayLike, predictions: ArrayLike, classes: Sequence[str]
) -> Figure:
    """The ten most frequent confusions, in words and up to eight pictures each.

    Args:
        labels: `(N,)`.
        predictions: `(N,)`, class indices.
    """
    truth, guess, pixels = np.asarray(labels), np.asarray(predictions), np.asarray(images)
    wrong = np.flatnonzero(truth != guess)
    if not len(wrong):
        return message("most frequent confusions", f"None: all {len(truth):,} images are right.")
    pairs = truth[wrong] * len(classes) + guess[wrong]
    kinds, counts = np.unique(pairs, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:10]
    names, words, shown = shortened(classes), [], []
    for kind, count in zip(kinds[order], counts[order], strict=True):
        is_class, taken_for = (names[i] for i in divmod(int(kind), len(classes)))
        times = "once" if count == 1 else f"{count:,} times"
        words.append(f"{is_class} taken for {taken_for}: {times}")
        shown.append(wrong[pairs == kind][:8])
    title = f"most frequent confusions ({len(wrong):,} mistakes among {len(truth):,} images)"
    return _rows(pixels, words, shown, title)


def mistakes(
    images: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    count: int = 32,
) -> Figure:
    """The most confident mistakes, the surest first, with truth, prediction and confidence.

    Args:
        labels: `(N,)`.
        probabilities: `(N, K)`.
    """
    truth, given, pixels = np.asarray(labels), np.asarray(probabilities), np.asarray(images)
    guess, sure = given.argmax(1), given.max(1)
    wrong = np.flatnonzero(truth != guess)
    title = "most confident mistakes"
    if not len(wrong):
        return message(title, f"None: all {len(truth):,} images are right.")
    chosen, names = wrong[np.argsort(-sure[wrong], kind="stable")[:count]], shortened(classes)
    said = [_said(names[guess[i]], sure[i]) for i in chosen]
    right = [f"is {names[i]}" for i in truth[chosen]]
    title = f"{len(chosen)} {title} of {len(wrong):,} among {len(truth):,} images"
    page = sheet(rgb(pixels[chosen]), title, captions=[*said, *right], lines=2)
    for index in range(len(chosen)):
        page.caption(index, 0, said[index], VERMILLION)
        page.caption(index, 1, right[index])
    return page.figure


def predictions(
    images: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    labels: ArrayLike | None = None,
) -> Figure:
    """All these images, each with the predicted class and its confidence in percent.

    Args:
        probabilities: `(N, K)`.
        labels: `(N,)`; where given, a wrong prediction is coloured and the truth added.
    """
    given = np.asarray(probabilities)
    guess, sure = given.argmax(1), given.max(1)
    truth = guess if labels is None else np.asarray(labels)
    names = shortened(classes)
    said = [_said(names[g], s) for g, s in zip(guess, sure, strict=True)]
    wrong = guess != truth
    right = [f"is {names[t]}" if w else "" for t, w in zip(truth, wrong, strict=True)]
    lines = 2 if wrong.any() else 1
    page = sheet(rgb(images), "predictions", captions=[*said, *right], lines=lines)
    for index, text in enumerate(said):
        page.caption(index, 0, text, VERMILLION if wrong[index] else INK)
        if wrong[index]:
            page.caption(index, 1, right[index])
    return page.figure


def samples(images: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> Figure:
    """The first images of each class: ten in a row, or one each of more than 20 classes."""
    truth, pixels = np.asarray(labels), np.asarray(images)
    found = [np.flatnonzero(truth == index)[:10] for index in range(len(classes))]
    names = shortened(classes)
    if len(classes) <= 20:
        return _rows(pixels, names, found, "samples of each class")
    there = [index for index, each in enumerate(found) if len(each)]
    captions = [names[index] for index in there]
    chosen = [found[index][0] for index in there]
    page = sheet(rgb(pixels[chosen]), "a sample of each class", captions=captions, lines=1)
    for index, name in enumerate(captions):
        page.caption(index, 0, name)
    return page.figure


def _rows(pixels: Array, words: Sequence[str], shown: Sequence[Array], title: str) -> Figure:
    """A row of images for each text on the left."""
    columns = max(1, *(len(each) for each in shown))
    table = np.full((len(shown), columns, *pixels.shape[1:]), 255, np.uint8)
    for row, chosen in zip(table, shown, strict=True):
        row[: len(chosen)] = pixels[chosen]
    flat = table.reshape(-1, *pixels.shape[1:])
    page = sheet(rgb(flat), title, columns=columns, headings=words)
    for index, text in enumerate(words):
        page.heading(index * columns, text)
    return page.figure


def _said(name: str, confidence: float) -> str:
    return f"{name}, {100 * confidence:.1f} %"

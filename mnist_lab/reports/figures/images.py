"""Images of a dataset, with what a model said of them."""

from collections.abc import Sequence
from itertools import zip_longest

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
    truth, shares, pixels = np.asarray(labels), np.asarray(probabilities), np.asarray(images)
    guess, sure = shares.argmax(1), shares.max(1)
    wrong = np.flatnonzero(truth != guess)
    title = "most confident mistakes"
    if not len(wrong):
        return message(title, f"None: all {len(truth):,} images are right.")
    chosen, names = wrong[np.argsort(-sure[wrong], kind="stable")[:count]], shortened(classes)
    said = [_said(names[guess[i]], sure[i]) for i in chosen]
    title = f"{len(chosen)} {title} of {len(wrong):,} among {len(truth):,} images"
    return _captioned(pixels[chosen], title, said, [f"is {names[i]}" for i in truth[chosen]])


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
    shares = np.asarray(probabilities)
    guess, sure = shares.argmax(1), shares.max(1)
    truth = guess if labels is None else np.asarray(labels)
    names = shortened(classes)
    said = [_said(names[g], s) for g, s in zip(guess, sure, strict=True)]
    wrong = ["" if g == t else f"is {names[t]}" for g, t in zip(guess, truth, strict=True)]
    return _captioned(images, "predictions", said, wrong)


def samples(images: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> Figure:
    """The first images of each class: ten in a row, or one each of more than 20 classes."""
    truth, pixels = np.asarray(labels), np.asarray(images)
    shown = [np.flatnonzero(truth == index)[:10] for index in range(len(classes))]
    names = shortened(classes)
    if len(classes) <= 20:
        return _rows(pixels, names, shown, "samples of each class")
    there = [index for index, places in enumerate(shown) if len(places)]
    chosen = [shown[index][0] for index in there]
    return _captioned(pixels[chosen], "a sample of each class", [names[i] for i in there])


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


def _captioned(
    images: ArrayLike, title: str, said: Sequence[str], wrong: Sequence[str] = ()
) -> Figure:
    """Images with a line below each; it is coloured where there is one of what's wrong with it."""
    page = sheet(rgb(images), title, captions=[*said, *wrong], lines=2 if any(wrong) else 1)
    for index, (text, correction) in enumerate(zip_longest(said, wrong)):
        page.caption(index, 0, text, VERMILLION if correction else INK)
        if correction:
            page.caption(index, 1, correction, INK)
    return page.figure


def _said(name: str, confidence: float) -> str:
    return f"{name}, {100 * confidence:.1f} %"

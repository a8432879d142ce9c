"""Whether networks tell foreign images from their own, in numbers and a figure."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mnist_lab import LabError
from mnist_lab.metrics.detection import detection
from mnist_lab.metrics.evaluation import shortest
from mnist_lab.models.ensemble import Outputs
from mnist_lab.reports.page import percent

if TYPE_CHECKING:  # takes a while
    from mnist_lab.reports.figures.style import Figure

Scores = dict[str, dict[str, NDArray[np.float64]]]
"""`(N,)` each, by the score's name and the dataset's."""

_SCORES: Mapping[str, Callable[[Outputs], Tensor]] = {
    "largest_probability": lambda found: found.log_probabilities.amax(1).exp(),
    "largest_logit": lambda found: found.log_probabilities.amax(1) + found.energies,
    "energy": lambda found: found.energies,
}
"""High for what a network knows: Hendrycks and Gimpel, 2017; Hendrycks et al., 2022; the energy's
negative, Liu et al., 2020."""


def refuse_other_sizes(own: Tensor, foreign: Mapping[str, Tensor]) -> None:
    """Refuse foreign images `(M, C, H, W)` of other channels, height or width than own ones.

    Raises:
        LabError: there are some.
    """
    for name, images in foreign.items():
        theirs, its = (" x ".join(map(str, each.shape[1:])) for each in (images, own))
        if theirs != its:
            raise LabError(f"foreign={name}: has images of {theirs}; the network's own are {its}")


def scores(images: Mapping[str, Tensor], outputs: Callable[[Tensor], Outputs]) -> Scores:
    """Each score of the images of each dataset.

    Args:
        images: by the dataset's name, the network's own first.
    """
    found = {name: outputs(each) for name, each in images.items()}
    return {
        score: {name: of(each).numpy() for name, each in found.items()}
        for score, of in _SCORES.items()
    }


def content(scores: Scores) -> dict[str, Any]:
    """The numbers of `evaluation.json`: of each foreign dataset, how good each score is."""
    numbers: dict[str, Any] = {}
    for score, by_dataset in scores.items():
        own, *foreign = by_dataset.items()
        for name, values in foreign:
            measured = detection(own[1], values)
            numbers.setdefault(name, {"images": len(values)})[score] = {
                "auroc": shortest(measured.auroc),
                "false_positive_rate": shortest(measured.false_positive_rate),
            }
    return numbers


def figure(scores: Scores) -> "Figure":
    """How often each score has which value."""
    from mnist_lab.reports import figures

    return figures.foreign({name.replace("_", " "): each for name, each in scores.items()})


def rows(numbers: Mapping[str, Any]) -> list[list[str]]:
    """Head and rows of a table: each dataset by each score."""
    table = [["foreign images", "told by", "AUROC", "false positives at 95 %"]]
    for name, found in numbers.items():
        for score in _SCORES:
            each = found[score]
            table.append([name, score.replace("_", " "), percent(each["auroc"]),
                          percent(each["false_positive_rate"])])  # fmt: skip
    return table


def told(numbers: Mapping[str, Any]) -> str:
    """What the columns mean, in a line."""
    return (
        "Foreign images: AUROC is how often an own image has the higher score; false positives are "
        "the foreign ones that pass where 95 % of the own do."
    )

"""What a temperature fitted on validation images makes of an evaluation, in numbers and words."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mnist_lab.metrics.calibration import fitted_temperature
from mnist_lab.metrics.evaluation import Evaluation
from mnist_lab.reports.page import number

if TYPE_CHECKING:  # takes a while
    from mnist_lab.reports.figures.style import Figure

_CHANGED = ("loss", "calibration_error", "brier_score")
"""The metrics that a temperature changes; which class is the likeliest stays."""


def temperature_of(validated: Evaluation) -> float:
    """The temperature that fits these images best, see `fitted_temperature`."""
    return fitted_temperature(validated.log_probabilities, validated.labels)


def content(
    judged: Evaluation, tempered: Evaluation, temperature: float, images: int
) -> dict[str, Any]:
    """The numbers of `evaluation.json`.

    Args:
        tempered: the same predictions at the temperature.
        images: how many it was fitted on.
    """
    return {
        "temperature": temperature,
        "validation_images": images,
        "before": {name: judged.metrics[name] for name in _CHANGED},
        "after": {name: tempered.metrics[name] for name in _CHANGED},
    }


def figure(judged: Evaluation, tempered: Evaluation, temperature: float) -> "Figure":
    """Reliability before and after."""
    from mnist_lab.reports import figures

    return figures.recalibrated(
        judged.probabilities, tempered.probabilities, judged.labels, temperature
    )


def rows(numbers: Mapping[str, Any]) -> list[list[str]]:
    """Head and rows of a table: each metric at both temperatures."""
    before, after = numbers["before"], numbers["after"]
    return [
        ["metric", "temperature 1", f"temperature {numbers['temperature']:.4f}"],
        *([name.replace("_", " "), number(before[name]), number(after[name])] for name in before),
    ]


def told(numbers: Mapping[str, Any]) -> str:
    """The temperature in a line."""
    return (
        f"Temperature {numbers['temperature']:.4f} fits the {numbers['validation_images']:,} "
        "validation images best; predict and export take it as temperature."
    )

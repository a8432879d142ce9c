"""Which mistakes are left where the least sure predictions aren't made, in numbers and words."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mnist_lab.metrics.evaluation import Evaluation, shortest
from mnist_lab.reports.page import percent

if TYPE_CHECKING:  # takes a while
    from mnist_lab.reports.figures.style import Figure

COVERAGES = (99, 95, 90)
"""Of the images, in percent, at which the accuracy is told."""


def content(judged: Evaluation, wished: dict[str, Any] | None) -> dict[str, Any]:
    """The numbers of `evaluation.json`, accuracies as fractions.

    Args:
        wished: as `threshold` gives it.
    """
    curve = judged.risk_coverage
    return {
        "area": shortest(curve.area),
        "accuracy": {str(each): shortest(curve.accuracy(each)) for each in COVERAGES},
        "wished": wished,
    }


def threshold(
    judged: Evaluation, validated: Evaluation, accuracy: float, temperature: float
) -> dict[str, Any]:
    """The confidence that gives an accuracy on validation images, and what it gives on others.

    Args:
        judged: the others, at this temperature, as `validated` is.

    Returns:
        `confidence` is None where none gives that accuracy, and so are `coverage` and `reached`,
        the share of the others with at least that confidence and the accuracy among these; the
        latter also where there are none.
    """
    least = validated.risk_coverage.threshold(accuracy)
    found: dict[str, Any] = {
        "accuracy": accuracy,
        "temperature": temperature,
        "validation_images": len(validated.labels),
        "confidence": None,
        "coverage": None,
        "reached": None,
    }
    if least is None:
        return found
    answered = judged.probabilities.amax(1) >= least
    right = judged.predictions[answered] == judged.labels[answered]
    return found | {
        "confidence": least,
        "coverage": shortest(answered.double().mean()),
        "reached": shortest(right.double().mean()) if len(right) else None,
    }


def figure(judged: Evaluation) -> "Figure":
    """Mistakes by coverage."""
    from mnist_lab.reports import figures

    curve = judged.risk_coverage
    return figures.risk_coverage(curve.risk, curve.area)


def rows(numbers: Mapping[str, Any]) -> list[list[str]]:
    """Head and rows of a table: the accuracy at each coverage."""
    return [
        ["surest images", "accuracy among them"],
        *([f"{each} %", percent(accuracy)] for each, accuracy in numbers["accuracy"].items()),
    ]


def told(numbers: Mapping[str, Any]) -> str:
    """The area in a line, and the confidence for the wished accuracy."""
    area = f"Area under the curve of risk by coverage: {numbers['area']:.3g}."
    wished = numbers["wished"]
    if wished is None:
        return area
    aim = (
        f"accuracy of {percent(wished['accuracy'])} among the {wished['validation_images']:,} "
        "validation images"
    )
    if wished["confidence"] is None:
        return f"{area} No confidence gives an {aim}."
    at = "" if wished["temperature"] == 1 else f" at temperature {wished['temperature']:.4f}"
    return (
        f"{area} A confidence of {wished['confidence']:.6g} or more{at} gives an {aim}; here "
        f"{percent(wished['coverage'])} of the images have it, and {percent(wished['reached'])} of "
        "these are right."
    )

"""Tables of predictions by the names of the classes, as train, evaluate and predict write them.

Imports nothing heavy, for who reads them alone.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lab.system.files import whole

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from mnist_lab.metrics.evaluation import Evaluation


UNSURE = "?"
"""What stands in the place of a prediction that the network isn't sure enough of."""


def columns(classes: Sequence[str]) -> list[str]:
    """What the probabilities' columns are called: `p7` that of a class 7, `p_cat` of a cat."""
    return [f"p{name}" if name.isdecimal() else f"p_{name}" for name in classes]


def table(
    images: Mapping[str, Sequence[int] | Sequence[str]],
    probabilities: "Tensor",
    classes: Sequence[str],
    labels: "Tensor | None" = None,
    confident: float | None = None,
) -> "pl.DataFrame":
    """A row an image: what it is called, its truth where known, prediction, and probabilities.

    Args:
        images: a column that names them, by its own name: `index` or `file`.
        probabilities: `(N, K)`, on the CPU.
        labels: the truth, `(N,)`.
        confident: the least confidence of a prediction; where it is less, the prediction is
            `UNSURE`, and the likeliest class stands in a column of its own, `guess`.
    """
    import polars as pl

    confidence, guess = probabilities.float().max(1)
    names = pl.Series(classes, dtype=pl.String)
    truth = {} if labels is None else {"truth": names.gather(labels.numpy())}
    named = zip(columns(classes), probabilities.float().unbind(1), strict=True)
    likeliest = names.gather(guess.numpy())
    predicted = {"prediction": likeliest}
    if confident is not None:
        unsure = pl.Series((confidence < confident).numpy())
        predicted = {"prediction": likeliest.set(unsure, UNSURE), "guess": likeliest}
    return pl.DataFrame(
        {
            **images,
            **truth,
            **predicted,
            "confidence": confidence.numpy(),
            **{name: column.numpy() for name, column in named},
        }
    )


def submission(
    ids: Sequence[int], probabilities: "Tensor", classes: Sequence[str]
) -> "pl.DataFrame":
    """A row an image as Kaggle's competitions take it."""
    import polars as pl

    labels = pl.Series(classes, dtype=pl.String).gather(probabilities.argmax(1).numpy())
    return pl.DataFrame({"ImageId": ids, "Label": labels})


def write_tables(folder: Path, evaluation: "Evaluation") -> None:
    """`predictions.csv`, a row an image in the order of its split, and `per_class.csv`."""
    indices = {"index": range(len(evaluation.labels))}
    rows = table(indices, evaluation.probabilities, evaluation.classes, evaluation.labels)
    with whole(folder / "predictions.csv", "wb") as file:
        rows.write_csv(file)
    with whole(folder / "per_class.csv", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", *evaluation.scores.by_class, "support"])
        for name, values in evaluation.per_class.items():
            writer.writerow([name, *values.values()])
        macro = [evaluation.metrics[name] for name in evaluation.scores.by_class]
        writer.writerow(["macro", *macro, len(evaluation.labels)])

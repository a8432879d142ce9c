"""What is told of an evaluation, from the numbers in its `evaluation.json`: page and console."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mnist_lab.metrics.counts import BY_CLASS
from mnist_lab.reports import attacked, calibrated, corrupted, detected, page, selective
from mnist_lab.reports.page import class_table, number, percent


class _Part(Protocol):
    """A module that tells of one of the numbers in `evaluation.json`."""

    def rows(self, numbers: Mapping[str, Any]) -> list[list[str]]: ...

    def told(self, numbers: Mapping[str, Any]) -> str: ...


_PARTS: Mapping[str, _Part] = {
    "calibration": calibrated,
    "risk_coverage": selective,
    "corruptions": corrupted,
    "foreign": detected,
    "attacked": attacked,
}
"""By the key there, which also is the figure's name; None stands there for what wasn't asked."""


def write_page(folder: Path, numbers: Mapping[str, Any]) -> None:
    """`report.html` of an evaluation's folder with `figures/`."""
    metrics, (low, high) = numbers["metrics"], numbers["accuracy_interval"]
    corruptions, under_attack = numbers["corruptions"], numbers["attacked"]
    beside = {"under attack": percent(under_attack["accuracy"])} if under_attack else {}
    tables = {"per_class": class_table(numbers["per_class"], metrics)}
    notes = [f"95 % interval of the accuracy: {100 * low:.2f} to {percent(high)}."]
    if numbers["without_disputed"]:
        notes.append(_disputed(numbers))
    for name, part in _PARTS.items():
        if numbers[name] is not None:
            notes.append(part.told(numbers[name]))
            tables[name] = part.rows(numbers[name])
    page.write(
        folder,
        _title(numbers),
        tiles={
            "accuracy": percent(metrics["accuracy"]),
            **beside,
            "loss": number(metrics["loss"]),
            "F1 (macro)": percent(metrics["f1"]),
            "calibration error": percent(metrics["calibration_error"]),
            "images": f"{numbers['images']:,}",
        }
        | ({"mean error, corrupted": percent(corruptions["mean_error"])} if corruptions else {}),
        notes=notes,
        tables=tables,
        inside=f"image {numbers['inside']} of the split",
        numbers={
            **{name.replace("_", " "): number(value) for name, value in metrics.items()},
            "checkpoints": ", ".join(each["path"] for each in numbers["checkpoints"]),
            "copies of each image": str(numbers["tta"]),
            "damaged by": _damage(numbers) or "-",
            "seed": str(numbers["seed"]),
            "versions": ", ".join(f"{k} {v}" for k, v in numbers["versions"].items()),
        },
    )


def _title(numbers: Mapping[str, Any]) -> str:
    """Which networks on which images, and what was done to these."""
    models = " + ".join(each["model"] for each in numbers["checkpoints"])
    damage = _damage(numbers)
    damaged = f", damaged by {damage}" if damage else ""
    return f"{models} on {numbers['dataset']}, {numbers['split']}{damaged}"


def _damage(numbers: Mapping[str, Any]) -> str:
    """What the images of an evaluation went through, with all of its settings."""
    through = []
    for damage in (numbers["augment"], numbers["corrupt"]):
        if damage is not None and "_target_" in damage:  # else several, each counted apart
            through.append(page.described(damage))
    return " and ".join(through)


def _disputed(numbers: Mapping[str, Any]) -> str:
    """What is told beside the plain accuracy, which counts all labels."""
    rest = numbers["without_disputed"]
    low, high = rest["accuracy_interval"]
    return (
        f"Without the {len(rest['disputed'])} labels that have no majority behind them: accuracy "
        f"{percent(rest['accuracy'])} ({100 * low:.2f} to {percent(high)})."
    )


def show(numbers: Mapping[str, Any]) -> None:
    """The numbers on the console."""
    table = Table("metric", "value")
    low, high = numbers["accuracy_interval"]
    table.add_row("images", f"{numbers['images']:,}")
    for name, value in numbers["metrics"].items():
        table.add_row(name.replace("_", " "), f"{value:.4f}")
        if name == "accuracy":
            table.add_row("  95 % interval", f"{low:.4f} to {high:.4f}")
            if numbers["attacked"] is not None:
                table.add_row("  under attack", f"{numbers['attacked']['accuracy']:.4f}")
    by_class = Table("class", *BY_CLASS, "images")
    for name, scores in numbers["per_class"].items():
        cells = [number(scores[metric]) for metric in BY_CLASS]
        by_class.add_row(escape(name), *cells, f"{scores['support']:,}")
    console = Console(width=None if Console().is_terminal else 100)
    console.print(escape(_title(numbers)), highlight=False, soft_wrap=True)
    console.print(table, by_class)
    if numbers["without_disputed"] is not None:
        console.print(_disputed(numbers), highlight=False)
    for key, part in _PARTS.items():
        if numbers[key] is not None:
            head, *rows = part.rows(numbers[key])
            details = Table(*head)
            for row in rows:
                details.add_row(*map(escape, row))
            console.print(details)
            console.print(part.told(numbers[key]), highlight=False)

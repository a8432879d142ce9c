"""What an evaluation leaves: numbers, tables, figures and a page in a folder of its own."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

import mnist_lab
from mnist_lab import LabError
from mnist_lab.data import DataModule
from mnist_lab.metrics.counts import BY_CLASS
from mnist_lab.metrics.evaluation import Evaluation, shortest
from mnist_lab.models import ensemble
from mnist_lab.reports import corrupted, gallery, page
from mnist_lab.reports.evaluation_folder import refuse_taken, replaced
from mnist_lab.reports.page import class_table, number, percent
from mnist_lab.runs.predictions import write_tables
from mnist_lab.runs.trained import Trained, refuse_other_classes
from mnist_lab.settings import signatures
from mnist_lab.settings.ranges import Count, Seed, ranged
from mnist_lab.system.files import whole


@ranged
def evaluate(
    members: Sequence[Trained],
    data: DataModule,
    folder: Path,
    *,
    split: str = "test",
    augment: dict[str, Any] | None = None,
    corrupt: dict[str, Any] | None = None,
    seed: Seed = 0,
    tta: int = 1,
    inside: int | None = None,
    disputed: Sequence[int] = (),
    reference: Mapping[str, float] | None = None,
    batch_size: Count = 1000,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Have networks judge a split of labelled images; numbers, tables and figures into `folder`.

    Args:
        members: as `trained.load_all` gives them; of several the mean probability counts.
        split: `test`, `val` or `train`; `all` is every image, those to train on first.
        augment: what damages the images, as in `conf/augment`: `_target_` and its settings.
        corrupt: what damages them then, as in `conf/corrupt`; or several by name, each of which is
            counted apart, beside the images without it.
        seed: of these.
        tta: as `ensemble.evaluate` takes it, and `batch_size`.
        inside: the index of an image of which feature maps and outputs are drawn.
        disputed: indices of images whose labels are in doubt: accuracy without them is told, too.
        reference: a reference network's errors by the names of corruptions, which others are
            divided by.
        overwrite: whether the folder may hold an earlier evaluation.

    Returns:
        What `evaluation.json` holds.

    Raises:
        LabError: networks, data and settings that don't go together; a folder in use.
    """
    refuse_taken(folder, overwrite)
    if inside is not None and len(members) > 1:
        raise LabError("inside looks into one network: name one checkpoint")
    named = any(member.data is not None for member in members)
    if named or len(data.classes) != len(members[0].classes):
        refuse_other_classes(f"data={data.source.name}", data.classes, members[0])
    damages = signatures.build({"augment": augment, "corrupt": corrupt})
    images, labels = _images(data, split)
    if inside is not None and not 0 <= inside < len(images):
        raise LabError(f"inside must lie between 0 and {len(images) - 1}, not {inside}")
    suite = damages.pop("corrupt") if isinstance(damages["corrupt"], dict) else {}
    for damage in damages.values():
        if damage is not None:
            images = corrupted.damaged(images, damage, seed)
    models = [member.model for member in members]

    def judged_on(images: Tensor) -> Evaluation:
        return ensemble.evaluate(
            models, images, labels, data.classes, tta=tta, batch_size=batch_size
        )

    judged = judged_on(images)
    drawn = gallery.of_predictions(images.cpu(), judged)
    corruptions = None
    if suite:
        evaluations, shown = corrupted.judge(images, suite, judged_on, seed)
        corruptions = corrupted.content(evaluations, corrupt or {}, reference)
        drawn["corruptions"] = corrupted.figure(shown, corruptions, 1 - judged.accuracy)
    numbers = {
        "dataset": data.source.name,
        "split": split,
        "checkpoints": [{"path": each.path, "model": each.model.name} for each in members],
        "tta": tta,
        "augment": augment,
        "corrupt": corrupt,
        "seed": seed,
        "inside": inside,
        **content(judged, disputed),
        "corruptions": corruptions,
    }
    if inside is not None:
        drawn |= gallery.of_network(models[0], images[inside], judged.classes)
    with replaced(folder, overwrite) as new:
        write_tables(new, judged)
        gallery.save(new / "figures", drawn)
        with whole(new / "evaluation.json") as file:
            json.dump(numbers, file, indent=2)
            file.write("\n")
        _write_page(new, numbers)
    return numbers


def _images(data: DataModule, split: str) -> tuple[Tensor, Tensor]:
    """Images and labels of a split, or of all of them."""
    if split == "val" and not data.has_validation:
        raise LabError("split=val: there are no validation images")
    every = ("train", "val", "test") if data.has_validation else ("train", "test")
    parts = [data.tensors(name) for name in (every if split == "all" else (split,))]
    images, labels = map(torch.cat, zip(*parts, strict=True))
    return images, labels


def content(judged: Evaluation, disputed: Sequence[int] = ()) -> dict[str, Any]:
    """The numbers of `evaluation.json`, accuracies as fractions.

    Args:
        disputed: indices of images whose labels are in doubt: accuracy without them is told, too.

    Raises:
        LabError: there are no images of such indices.
    """
    count, disputed = len(judged.labels), sorted(set(disputed))
    wrong = [index for index in disputed if not 0 <= index < count]
    if wrong:
        raise LabError(f"disputed: there is no image {wrong[0]} among {count}")
    rest = judged.without(disputed) if disputed else None
    return {
        "images": count,
        "metrics": judged.metrics,
        "accuracy_interval": [shortest(bound) for bound in judged.interval],
        "without_disputed": rest
        and {
            "disputed": disputed,
            "images": len(rest.labels),
            "accuracy": shortest(rest.accuracy),
            "accuracy_interval": [shortest(bound) for bound in rest.interval],
        },
        "per_class": judged.per_class,
        "confusion_matrix": judged.scores.confusion.tolist(),
        "versions": {"torch": torch.__version__, "mnist_lab": mnist_lab.__version__},
    }


def _write_page(folder: Path, numbers: Mapping[str, Any]) -> None:
    metrics, (low, high) = numbers["metrics"], numbers["accuracy_interval"]
    corruptions = numbers["corruptions"]
    tables = {"per_class": class_table(numbers["per_class"], metrics)}
    notes = [f"95 % interval of the accuracy: {100 * low:.2f} to {percent(high)}."]
    if numbers["without_disputed"]:
        notes.append(_disputed(numbers))
    if corruptions:
        notes.append(corrupted.told(corruptions))
        tables["corruptions"] = corrupted.rows(corruptions)
    page.write(
        folder,
        _title(numbers),
        tiles={
            "accuracy": percent(metrics["accuracy"]),
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
    described = []
    for damage in (numbers["augment"], numbers["corrupt"]):
        if damage is not None and "_target_" in damage:  # else several, each counted apart
            settings = [f"{key} {value}" for key, value in damage.items() if key[0] != "_"]
            name = damage["_target_"].rpartition(".")[2]
            described.append(" ".join([name, ", ".join(settings)]).strip())
    return " and ".join(described)


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
    by_class = Table("class", *BY_CLASS, "images")
    for name, scores in numbers["per_class"].items():
        cells = [number(scores[metric]) for metric in BY_CLASS]
        by_class.add_row(escape(name), *cells, f"{scores['support']:,}")
    console = Console(width=None if Console().is_terminal else 100)
    console.print(escape(_title(numbers)), highlight=False, soft_wrap=True)
    console.print(table, by_class)
    if numbers["without_disputed"] is not None:
        console.print(_disputed(numbers), highlight=False)
    if numbers["corruptions"] is not None:
        head, *rows = corrupted.rows(numbers["corruptions"])
        by_corruption = Table(*head)
        for row in rows:
            by_corruption.add_row(*map(escape, row))
        console.print(by_corruption)
        console.print(corrupted.told(numbers["corruptions"]), highlight=False)


def show_all(folder: Path) -> None:
    """A table of the evaluations in the folder of a sweep over them, in the order of its jobs."""
    stored = {path.parent.name: path for path in folder.glob("*/evaluation.json")}
    if not stored:
        return
    jobs = {
        name: json.loads(stored[name].read_text(encoding="utf-8"))
        for name in sorted(stored, key=lambda name: int(name.partition("_")[0]))
    }
    table = Table("evaluation", "images", "accuracy", "95 % interval", "loss")
    with_corruptions = any(numbers["corruptions"] for numbers in jobs.values())
    if with_corruptions:
        table.add_column("mean corruption error")
        table.add_column("mCE")
    for name, numbers in jobs.items():
        accuracy, loss = (f"{numbers['metrics'][key]:.4f}" for key in ("accuracy", "loss"))
        low, high = numbers["accuracy_interval"]
        cells = [f"{numbers['images']:,}", accuracy, f"{low:.4f} to {high:.4f}", loss]
        if with_corruptions:
            means = numbers["corruptions"] or {"mean_error": None, "mce": None}
            cells += [number(means["mean_error"]), number(means["mce"])]
        table.add_row(escape(name), *cells)
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # a row is a line, to be searched
    console.print(table)
    console.print(f"Evaluations: {escape(str(folder))}", highlight=False, soft_wrap=True)

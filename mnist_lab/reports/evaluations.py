"""What an evaluation leaves: numbers, tables, figures and a page in a folder of its own."""

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

import mnist_lab
from mnist_lab import FileOrSettingError
from mnist_lab.data import DataModule
from mnist_lab.metrics.counts import BY_CLASS
from mnist_lab.metrics.evaluation import Evaluation, shortest
from mnist_lab.models import ensemble
from mnist_lab.reports import gallery, page
from mnist_lab.runs.predictions import write_tables
from mnist_lab.runs.trained import Trained, refuse_other_classes
from mnist_lab.settings import signatures
from mnist_lab.settings.ranges import Count, Seed, ranged
from mnist_lab.system.files import left_behind, temporary, whole

if TYPE_CHECKING:  # takes a while
    from mnist_lab.reports.figures.style import Figure

_FILES = {"evaluation.json", "predictions.csv", "per_class.csv", "report.html", "figures"}


@ranged
def evaluate(
    members: Sequence[Trained],
    data: DataModule,
    folder: Path,
    *,
    split: str = "test",
    augment: dict[str, Any] | None = None,
    seed: Seed = 0,
    tta: int = 1,
    inside: int | None = None,
    disputed: Sequence[int] = (),
    batch_size: Count = 1000,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Have networks judge a split of labelled images; numbers, tables and figures into `folder`.

    Args:
        members: as `trained.load_all` gives them; of several the mean probability counts.
        split: `test`, `val` or `train`; `all` is every image, those to train on first.
        augment: what damages the images, as in `conf/augment`: `_target_` and its settings.
        seed: of that.
        tta: as `ensemble.evaluate` takes it, and `batch_size`.
        inside: the index of an image of which feature maps and outputs are drawn.
        disputed: indices of images whose labels are in doubt: accuracy without them is told, too.
        overwrite: whether the folder may hold an earlier evaluation.

    Returns:
        What `evaluation.json` holds.

    Raises:
        FileOrSettingError: networks, data and settings that don't go together; a folder in use.
    """
    refuse_taken(folder, overwrite)
    if inside is not None and len(members) > 1:
        raise FileOrSettingError("inside looks into one network: name one checkpoint")
    named = any(member.data is not None for member in members)
    if named or len(data.classes) != len(members[0].classes):
        refuse_other_classes(f"data={data.source.name}", data.classes, members[0])
    damage = None
    if augment is not None:
        damage = signatures.build({"augment": augment})["augment"]
    images, labels = _images(data, split)
    if inside is not None and not 0 <= inside < len(images):
        raise FileOrSettingError(f"inside must lie between 0 and {len(images) - 1}, not {inside}")
    if damage is not None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            images = torch.cat([damage(part) for part in torch.split(images, 1000)])
    models = [member.model for member in members]
    judged = ensemble.evaluate(models, images, labels, data.classes, tta=tta, batch_size=batch_size)
    numbers = {
        "dataset": data.source.name,
        "split": split,
        "checkpoints": [{"path": each.path, "model": each.model.name} for each in members],
        "tta": tta,
        "augment": augment,
        "seed": seed,
        "inside": inside,
        **content(judged, disputed),
    }
    drawn = gallery.of_predictions(images.cpu(), judged)
    if inside is not None:
        drawn |= gallery.of_network(models[0], images[inside], judged.classes)
    write(folder, numbers, judged, drawn, overwrite)
    return numbers


def refuse_taken(folder: Path, overwrite: bool) -> None:
    """Nothing but an earlier evaluation is ever replaced, and that where it may be."""
    try:
        there = {path.name for path in set(folder.iterdir()) - set(left_behind(folder))}
    except FileNotFoundError:
        if folder.is_symlink():
            raise FileOrSettingError(f"output={folder}: is a link to nothing") from None
        return
    except OSError as error:
        raise FileOrSettingError(f"output={folder}: {error.strerror}") from error
    others = sorted(there - _FILES)
    if there and (others or "evaluation.json" not in there):
        name = (others or sorted(there))[0]
        raise FileOrSettingError(f"output={folder}: holds something else: {name}")
    if there and not overwrite:
        raise FileOrSettingError(f"output={folder}: exists; overwrite=true replaces it")


def _images(data: DataModule, split: str) -> tuple[Tensor, Tensor]:
    """Images and labels of a split, or of all of them."""
    if split == "val" and not data.has_validation:
        raise FileOrSettingError("split=val: there are no validation images")
    every = ("train", "val", "test") if data.has_validation else ("train", "test")
    parts = [data.tensors(name) for name in (every if split == "all" else (split,))]
    images, labels = map(torch.cat, zip(*parts, strict=True))
    return images, labels


def content(found: Evaluation, disputed: Sequence[int] = ()) -> dict[str, Any]:
    """The numbers of `evaluation.json`, accuracies as fractions.

    Args:
        disputed: indices of images whose labels are in doubt: accuracy without them is told, too.

    Raises:
        FileOrSettingError: there are no images of such indices.
    """
    count, disputed = len(found.labels), sorted(set(disputed))
    wrong = [index for index in disputed if not 0 <= index < count]
    if wrong:
        raise FileOrSettingError(f"disputed: there is no image {wrong[0]} among {count}")
    rest = found.without(disputed) if disputed else None
    return {
        "images": count,
        "metrics": found.metrics,
        "accuracy_interval": [shortest(bound) for bound in found.interval],
        "without_disputed": rest
        and {
            "disputed": disputed,
            "images": len(rest.labels),
            "accuracy": shortest(rest.accuracy),
            "accuracy_interval": [shortest(bound) for bound in rest.interval],
        },
        "per_class": found.per_class,
        "confusion_matrix": found.scores.confusion.tolist(),
        "versions": {"torch": torch.__version__, "mnist_lab": mnist_lab.__version__},
    }


def write(
    folder: Path,
    numbers: Mapping[str, Any],
    found: Evaluation,
    drawn: dict[str, "Figure"],
    overwrite: bool = False,
) -> None:
    """Everything into `folder`, where it appears once all of it is written.

    Args:
        overwrite: whether it may replace what has come there.

    Raises:
        FileOrSettingError: it cannot be written; what stood there is as it was.
    """
    fresh = not folder.exists()
    new = temporary(folder / "new")  # within, so that the folder may be a mount, or the current one
    try:
        try:
            new.mkdir(parents=True)
            write_tables(new, found)
            gallery.save(new / "figures", drawn)
            with whole(new / "evaluation.json") as file:
                json.dump(numbers, file, indent=2)
                file.write("\n")
            page.write_evaluation(new, numbers)
            if not overwrite and set(folder.iterdir()) - set(left_behind(folder)):
                raise FileOrSettingError(f"output={folder}: another process has written there")
            _replace(folder, new)
        finally:
            shutil.rmtree(new, ignore_errors=True)
            if fresh:
                with contextlib.suppress(OSError):
                    folder.rmdir()  # unless there is something in it
    except OSError as error:
        raise FileOrSettingError(f"output={folder}: cannot be written: {error}") from error


def _replace(folder: Path, new: Path) -> None:
    """Put what lies in `new` in place of all else in the folder; `evaluation.json` comes last."""
    old = temporary(folder / "old")
    before = set(folder.iterdir()) - set(left_behind(folder))
    old.mkdir()
    moves = [(path, old / path.name) for path in before]
    moves += [
        (path, folder / path.name)
        for path in sorted(new.iterdir(), key=lambda path: path.name == "evaluation.json")
    ]
    done = []
    try:
        for place, other in moves:
            place.rename(other)
            done.append((place, other))
    except BaseException:
        for place, other in reversed(done):
            other.rename(place)
        old.rmdir()
        raise
    shutil.rmtree(old)


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
    for name, each in numbers["per_class"].items():
        *values, support = each.values()
        told = ("-" if value is None else f"{value:.4f}" for value in values)
        by_class.add_row(escape(name), *told, f"{support:,}")
    console = Console(width=None if Console().is_terminal else 100)
    console.print(escape(page.evaluation_title(numbers)), highlight=False, soft_wrap=True)
    console.print(table, by_class)
    if numbers["without_disputed"] is not None:
        console.print(page.disputed(numbers), highlight=False)


def show_all(folder: Path) -> None:
    """A table of the evaluations in the folder of a sweep over them, in the order of its jobs."""
    stored = {path.parent.name: path for path in folder.glob("*/evaluation.json")}
    if not stored:
        return
    table = Table("evaluation", "images", "accuracy", "95 % interval", "loss")
    for name in sorted(stored, key=lambda name: int(name.partition("_")[0])):
        numbers = json.loads(stored[name].read_text(encoding="utf-8"))
        accuracy, loss = (f"{numbers['metrics'][key]:.4f}" for key in ("accuracy", "loss"))
        low, high = numbers["accuracy_interval"]
        count = f"{numbers['images']:,}"
        table.add_row(escape(name), count, accuracy, f"{low:.4f} to {high:.4f}", loss)
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # a row is a line, to be searched
    console.print(table)
    console.print(f"Evaluations: {escape(str(folder))}", highlight=False, soft_wrap=True)

"""What an evaluation leaves: numbers, tables, figures and a page in a folder of its own."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import mnist_lab
from mnist_lab import LabError
from mnist_lab.data import DataModule
from mnist_lab.metrics.evaluation import Evaluation, shortest
from mnist_lab.models import ensemble
from mnist_lab.reports import (
    attacked,
    calibrated,
    corrupted,
    detected,
    evaluation_told,
    gallery,
    selective,
)
from mnist_lab.reports.evaluation_folder import refuse_taken, replaced
from mnist_lab.runs.predictions import write_tables
from mnist_lab.runs.trained import Trained, refuse_other_classes
from mnist_lab.settings import signatures
from mnist_lab.settings.ranges import Count, Seed, Share, ranged
from mnist_lab.system.files import whole

if TYPE_CHECKING:  # takes a while
    from mnist_lab.reports.figures.style import Figure


@ranged
def evaluate(
    members: Sequence[Trained],
    data: DataModule,
    folder: Path,
    *,
    split: str = "test",
    augment: dict[str, Any] | None = None,
    corrupt: dict[str, Any] | None = None,
    attack: dict[str, Any] | None = None,
    seed: Seed = 0,
    tta: int = 1,
    inside: int | None = None,
    disputed: Sequence[int] = (),
    reference: Mapping[str, float] | None = None,
    calibrate: bool = False,
    accuracy: Share | None = None,
    foreign: Mapping[str, DataModule] | None = None,
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
        attack: what then is done to them against these networks, as in `conf/attack`: the
            accuracy under it is told beside the one without.
        seed: of these.
        tta: as `ensemble.evaluate` takes it, and `batch_size`.
        inside: the index of an image of which feature maps and outputs are drawn.
        disputed: indices of images whose labels are in doubt: accuracy without them is told, too.
        reference: a reference network's errors by the names of corruptions, which others are
            divided by.
        calibrate: whether a temperature is fitted on the validation images, as they are.
        accuracy: for which the confidence is looked for, on these likewise.
        foreign: datasets by name, whose test images are to be told from these.
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
    damages = signatures.build({"augment": augment, "corrupt": corrupt, "attack": attack})
    attacking = damages.pop("attack")
    images, labels = _images(data, split)
    validation = None
    if calibrate or accuracy is not None:
        if not data.has_validation:
            asked = "calibrate=true" if calibrate else f"accuracy={accuracy}"
            raise LabError(f"{asked}: there are no validation images")
        validation = data.tensors("val")
    strangers = {name: each.tensors("test")[0] for name, each in (foreign or {}).items()}
    detected.refuse_other_sizes(images, strangers)
    if inside is not None and not 0 <= inside < len(images):
        raise LabError(f"inside must lie between 0 and {len(images) - 1}, not {inside}")
    suite = damages.pop("corrupt") if isinstance(damages["corrupt"], dict) else {}
    for damage in damages.values():
        if damage is not None:
            images = corrupted.damaged(images, damage, seed)
    models = [member.model for member in members]

    def judged_on(images: Tensor, labels: Tensor = labels) -> Evaluation:
        return ensemble.evaluate(
            models, images, labels, data.classes, tta=tta, batch_size=batch_size
        )

    judged = judged_on(images)
    drawn = gallery.of_predictions(images.cpu(), judged)
    validated = None if validation is None else judged_on(*validation)
    measured, figures = _confidence(judged, validated, calibrate, accuracy)
    drawn |= figures
    corruptions = None
    if suite:
        evaluations, shown = corrupted.judge(images, suite, judged_on, seed)
        corruptions = corrupted.content(evaluations, corrupt or {}, reference)
        errors = {name: each["error"] for name, each in corruptions["each"].items()}
        drawn["corruptions"] = corrupted.figure(shown, errors, 1 - judged.accuracy)
    told_apart = None
    if strangers:
        scores = detected.scores(
            {data.source.name: images, **strangers},
            lambda images: ensemble.outputs(models, images, tta=tta, batch_size=batch_size),
        )
        told_apart = detected.content(scores)
        drawn["foreign"] = detected.figure(scores)
    under_attack = None
    if attacking is not None:
        under_attack, drawn["attacked"] = attacked.judge(
            models, attacking, images, judged, seed=seed, tta=tta, batch_size=batch_size
        )
        under_attack["attack"] = attack
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
        **measured,
        "corruptions": corruptions,
        "foreign": told_apart,
        "attacked": under_attack,
    }
    if inside is not None:
        drawn |= gallery.of_network(models[0], images[inside], judged.classes)
    with replaced(folder, overwrite) as new:
        write_tables(new, judged)
        gallery.save(new / "figures", drawn)
        with whole(new / "evaluation.json") as file:
            json.dump(numbers, file, indent=2)
            file.write("\n")
        evaluation_told.write_page(new, numbers)
    return numbers


def _images(data: DataModule, split: str) -> tuple[Tensor, Tensor]:
    """Images and labels of a split, or of all of them."""
    if split == "val" and not data.has_validation:
        raise LabError("split=val: there are no validation images")
    every = ("train", "val", "test") if data.has_validation else ("train", "test")
    parts = [data.tensors(name) for name in (every if split == "all" else (split,))]
    images, labels = map(torch.cat, zip(*parts, strict=True))
    return images, labels


def _confidence(
    judged: Evaluation, validated: Evaluation | None, calibrate: bool, accuracy: float | None
) -> tuple[dict[str, Any], dict[str, "Figure"]]:
    """Numbers and figures of what confidence is worth.

    Args:
        validated: of the validation images, where something is asked for that they decide.
    """
    temperature, calibration, wished = 1.0, None, None
    drawn = {"risk_coverage": selective.figure(judged)}
    if validated is not None and calibrate:
        temperature = calibrated.temperature_of(validated)
        tempered = judged.tempered(temperature)
        calibration = calibrated.content(judged, tempered, temperature, len(validated.labels))
        drawn["calibration"] = calibrated.figure(judged, tempered, temperature)
    if validated is not None and accuracy is not None:
        wished = selective.threshold(
            judged.tempered(temperature), validated.tempered(temperature), accuracy, temperature
        )
    return {
        "calibration": calibration,
        "risk_coverage": selective.content(judged, wished),
    }, drawn


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

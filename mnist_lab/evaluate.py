"""The command `python -m mnist_lab.evaluate`: how good checkpoints are on labelled images."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mnist_lab import FileOrSettingError, LabError
from mnist_lab.cli import command
from mnist_lab.cli.names import moment, register_resolvers
from mnist_lab.settings import signatures
from mnist_lab.settings.conf import CONF
from mnist_lab.settings.roles import INCIDENTAL
from mnist_lab.system.files import left_behind

if TYPE_CHECKING:
    from torch import Tensor

    from mnist_lab.data import DataModule, Transform
    from mnist_lab.runs.trained import Trained

register_resolvers()
_SPLIT = ("val_size", "train_size", "split_seed")  # what a division into train and val goes by
_FILES = {"evaluation.json", "predictions.csv", "per_class.csv", "report.html", "figures"}


@dataclass
class Settings:
    """The root of `conf/evaluate.yaml`, but for its groups `data` and `augment`."""

    checkpoint: str | list[str]
    split: Literal["test", "val", "train", "all"]
    tta: int
    inside: int | None
    seed: int
    output: str | None
    overwrite: bool
    batch_size: int
    device: str
    trust: list[str]
    disputed: dict[str, dict[str, list[int]]]


@hydra.main(version_base="1.3", config_path=CONF, config_name="evaluate")
def main(cfg: DictConfig) -> None:
    """Evaluate as composed; table, files and figures into `output`."""
    hydra_config = HydraConfig.get()
    try:
        _evaluate(cfg)
    except LabError as error:
        if hydra_config.mode == RunMode.MULTIRUN:  # the command's end tells the first one alone
            folder = Path(hydra_config.runtime.output_dir)
            print(f"#{folder.name}: {error}")
            folder.rmdir()
        raise


def _evaluate(cfg: DictConfig) -> None:
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in ("data", "augment")])
    plain: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    signatures.check(plain, Settings)
    settings = Settings(**plain)
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        if settings.output is not None:
            raise FileOrSettingError(f"output={settings.output}: -m gives each a folder of its own")
        new = hydra_config.runtime.output_dir
    else:
        new = f"outputs/evaluations/{moment()}"
    folder = Path(settings.output or new)
    _refuse_taken(folder, settings.overwrite)
    if not 0 <= settings.seed < 2**32:
        raise FileOrSettingError(f"seed must lie between 0 and {2**32 - 1}, not {settings.seed}")
    paths = settings.checkpoint
    paths = [paths] if isinstance(paths, str) else paths
    if not paths:
        raise FileOrSettingError("checkpoint=[]: name at least one")
    if settings.inside is not None and len(paths) > 1:
        raise FileOrSettingError("inside looks into one network: name one checkpoint")

    command.say_loading()
    from mnist_lab.models.ensemble import evaluate
    from mnist_lab.reports import evaluations, gallery
    from mnist_lab.runs import trained

    members = [trained.load(path, settings.device, settings.trust) for path in paths]
    classes = members[0].classes
    for path, member in zip(paths, members, strict=True):
        _compare_classes(f"checkpoint={path}", member.classes, paths[0], classes)
    data, augment = _data(settings, paths, members)
    named = any(member.data is not None for member in members)
    if named or len(data.classes) != len(classes):
        _compare_classes(f"data={data.source.name}", data.classes, paths[0], classes)
    images, labels = _images(data, augment, settings)

    models = [member.model for member in members]
    found = evaluate(
        models, images, labels, data.classes, tta=settings.tta, batch_size=settings.batch_size
    )
    disputed = settings.disputed.get(data.source.name, {}).get(settings.split, [])
    content = {
        "dataset": data.source.name,
        "split": settings.split,
        "checkpoints": [
            {"path": path, "model": model.name} for path, model in zip(paths, models, strict=True)
        ],
        "tta": settings.tta,
        "augment": cfg.augment and OmegaConf.to_container(cfg.augment, resolve=True),
        "seed": settings.seed,
        "inside": settings.inside,
        **evaluations.content(found, disputed),
    }
    drawn = gallery.of_predictions(images.cpu(), found)
    if settings.inside is not None:
        drawn |= gallery.of_network(models[0], images[settings.inside], found.classes)
    evaluations.write(folder, content, found, drawn, settings.overwrite)
    evaluations.show(content)
    print(f"Evaluation: {folder}")


def _refuse_taken(folder: Path, overwrite: bool) -> None:
    """Nothing but an earlier evaluation is ever replaced."""
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
        told = (others or sorted(there))[0]
        raise FileOrSettingError(f"output={folder}: holds something else: {told}")
    if there and not overwrite:
        raise FileOrSettingError(f"output={folder}: exists; overwrite=true replaces it")


def _compare_classes(what: str, classes: list[str], first: str, expected: list[str]) -> None:
    if classes != expected:
        told = [
            ", ".join(names[:12]) + ", ..." * (len(names) > 12) for names in (classes, expected)
        ]
        raise FileOrSettingError(f"{what}: has the classes {told[0]}; {first} has {told[1]}")


def _common_name(paths: list[str], members: list["Trained"]) -> str:
    """The choice of `data` that all the networks were trained on."""
    known = GlobalHydra.instance().config_loader().get_group_options("data")
    names = [None if member.data is None else member.data.get("name") for member in members]
    for path, name in zip(paths, names, strict=True):
        if name not in known or name != names[0]:
            what = "no dataset" if name is None else name
            raise FileOrSettingError(
                f"{path}: was trained on {what}: say data=NAME; there are {', '.join(known)}"
            )
    return str(names[0])


def _data(
    settings: Settings, paths: list[str], members: list["Trained"]
) -> tuple["DataModule", "Transform | None"]:
    """The dataset asked for, else the checkpoints' own, and what damages its images."""
    from hydra import compose

    from mnist_lab.data import DataModule

    given = HydraConfig.get().runtime.choices["data"]
    name = given or _common_name(paths, members)
    stored: dict[str, Any] = {}
    roots: list[Any] = []
    for path, member in zip(paths, members, strict=True):
        if member.data is None or member.data.get("name") != name:
            continue
        found = {key: member.data.get(key) for key in _SPLIT}
        for key, value in found.items():
            if not isinstance(value, int | float | None):
                raise FileOrSettingError(f"{path}: doesn't describe its split: {key}={value}")
        if member.data.get("root") is not None:
            roots.append(member.data["root"])
        test_size = member.data.get("test_size")
        if isinstance(test_size, int | float):  # of a dataset without a test split of its own
            found["source.test_size"] = test_size
        elif settings.split == "test":
            found = {}
        if settings.split == "all":
            found = {"train_size": None}
        if stored not in ({}, found):
            raise FileOrSettingError(f"split={settings.split}: the checkpoints have different ones")
        stored = found
    overrides = HydraConfig.get().overrides.task
    cfg = compose(
        "evaluate",
        [
            *(f"data.{key}={'null' if value is None else value}" for key, value in stored.items()),
            *overrides,  # later ones win
            *([] if given else [f"data={name}"]),
        ],
    )
    if not any(text.lstrip("+").startswith("data.root=") for text in overrides):
        _use_root(cfg, roots)
    for key in OmegaConf.missing_keys(cfg):  # with the whole key, which to_container doesn't say
        raise FileOrSettingError(f"{key}: a value is missing")
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    signatures.check(plain["data"], DataModule, "data.")
    if plain["augment"] is not None and "_target_" not in plain["augment"]:
        key = next(iter(plain["augment"]))  # in a sweep over choices, of which this is none
        raise signatures.ConfigError(f"augment.{key}: no such setting of augment=none")
    built = signatures.build({key: plain[key] for key in ("data", "augment")})
    return built["data"], built["augment"]


def _use_root(cfg: DictConfig, roots: list[Any]) -> None:
    """The folder that was trained on, where the images are whatever lies in a folder.

    Of other datasets a checkpoint doesn't say where their files are fetched to.
    """
    if not roots or "root" in INCIDENTAL.get(cfg.data.source._target_, ()):
        return
    root = roots[0]
    if any(other != root for other in roots):
        raise FileOrSettingError("data.root: the checkpoints were trained on different ones")
    if not isinstance(root, str) or not root.isprintable() or "${" in root:
        raise FileOrSettingError(f"data.root: the checkpoint names none that can be used: {root!r}")
    cfg.data.root = root
    print(f"data.root={root}, which was trained on")


def _images(
    data: "DataModule", augment: "Transform | None", settings: Settings
) -> tuple["Tensor", "Tensor"]:
    """Images and labels of the split, damaged where that is asked for."""
    import torch

    split = settings.split
    if split == "val" and not data.has_validation:
        raise FileOrSettingError("split=val: there are no validation images")
    every = ("train", "val", "test") if data.has_validation else ("train", "test")
    parts = [data.tensors(each) for each in (every if split == "all" else (split,))]
    images, labels = map(torch.cat, zip(*parts, strict=True))
    if settings.inside is not None and not 0 <= settings.inside < len(images):
        raise FileOrSettingError(
            f"inside must lie between 0 and {len(images) - 1}, not {settings.inside}"
        )
    if augment is not None:
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            images = torch.cat([augment(part) for part in torch.split(images, 1000)])
    return images, labels


if __name__ == "__main__":
    command.run(main)

"""Which dataset `evaluate` looks at: the one that is named, else the checkpoints' own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mnist_lab import LabError
from mnist_lab.settings import signatures
from mnist_lab.settings.conf import make, validate_on_fold
from mnist_lab.settings.roles import Role, incidental, keys
from mnist_lab.settings.signatures import ConfigError

if TYPE_CHECKING:
    from mnist_lab.data import DataModule
    from mnist_lab.runs.trained import Trained

_SPLIT = [key.removeprefix("data.") for key in keys(Role.SPLIT)]
_OF_FOLDS = ("folds", "fold", "repeat")  # of which most checkpoints don't speak


def dataset(
    members: Sequence["Trained"], split: str, validation: bool
) -> tuple["DataModule", dict[str, Any]]:
    """The dataset, divided as it was in training where it is that, and what is done to its images.

    The latter are the settings of `augment`, `corrupt` and `attack`.

    Args:
        validation: whether the validation split is looked at beside `split`.

    Raises:
        LabError: none is named, and the checkpoints have none in common; or they divide
            it differently; or validation images are asked for that aren't theirs; or a setting of
            it doesn't fit.
    """
    from mnist_lab.data import DataModule

    named = HydraConfig.get().runtime.choices["data"]
    name = named or _common_name(members)
    theirs = [member for member in members if (member.data or {}).get("name") == name]
    stored = [_division(member, split, validation) | _form(member) for member in theirs]
    if any(division != stored[0] for division in stored):
        what = "validation images" if validation else f"split={split}"
        raise LabError(f"{what}: the checkpoints have different ones")
    for member in members:
        if validation and (member.data or {}).get("name") != name:
            raise LabError(
                "calibrate and accuracy look at the checkpoint's own validation images: "
                f"{member.path} was not trained on data={name}"
            )
    overrides = HydraConfig.get().overrides.task
    cfg = compose(
        "evaluate",
        [
            *(f"++data.{key}={'null' if value is None else value}"
              for key, value in (stored[0] if stored else {}).items()),
            *overrides,  # later ones win
            *([] if named else [f"data={name}"]),
        ],
    )  # fmt: skip
    typed = [text.lstrip("+").partition("=")[0] for text in overrides]
    validate_on_fold(cfg, typed)
    if "data.root" not in typed:
        _use_root(cfg, [member.data["root"] for member in theirs
                        if member.data and member.data.get("root") is not None])  # fmt: skip
    for key in OmegaConf.missing_keys(cfg):  # with the whole key, which to_container doesn't say
        raise LabError(f"{key}: a value is missing")
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    signatures.check(plain["data"], DataModule, "data.")
    damages = {group: plain[group] for group in ("augment", "corrupt", "attack")}
    for group, described in damages.items():
        _check_damage(group, described)
    return signatures.build({"data": plain["data"]})["data"], damages


def _check_damage(group: str, described: Any) -> None:
    """Hold what damages images against its class, or, of several by name, against theirs."""
    if described is None:
        return
    several = "_target_" not in described
    parts = {f"{group}.{name}": each for name, each in described.items()}
    for path, part in (parts if several else {group: described}).items():
        single = isinstance(part, dict) and "_target_" in part
        if not single or (several and group != "corrupt"):
            # In a sweep over choices, of which this one has no such setting.
            choice = HydraConfig.get().runtime.choices[group]
            raise signatures.no_such_setting(path, of=f"{group}={choice}")
        signatures.check(part, signatures.locate(part["_target_"], path), f"{path}.")


def _common_name(members: Sequence["Trained"]) -> str:
    """The choice of `data` that all the networks were trained on."""
    known = _datasets()
    names = [None if member.data is None else member.data.get("name") for member in members]
    for member, name in zip(members, names, strict=True):
        if name not in known or name != names[0]:
            what = "no dataset" if name is None else name
            raise LabError(
                f"{member.path}: was trained on {what}: say data=NAME; there are {', '.join(known)}"
            )
    return str(names[0])


def foreign_datasets(
    names: Sequence[str], members: Sequence["Trained"], data: "DataModule"
) -> dict[str, "DataModule"]:
    """Datasets by their names in `conf/data`, none of which the networks or `data` know.

    Raises:
        LabError: there is none of such a name, it cannot be made, or it is no foreign one.
    """
    known = _datasets()
    own = {data.source.name, *((member.data or {}).get("name") for member in members)}
    datasets = {}
    for name in names:
        if name not in known:
            nearest = signatures.hint(name, known)
            raise LabError(f"foreign={name}: there is no such dataset{nearest}")
        if name in own:
            raise LabError(f"foreign={name}: is the network's own dataset, or the one looked at")
        try:
            datasets[name] = make(f"data/{name}")
        except ConfigError as error:
            raise LabError(f"foreign={name}: {error}") from error
    return datasets


def _datasets() -> list[str]:
    """The choices of `data`, but for files that others build on."""
    choices = GlobalHydra.instance().config_loader().get_group_options("data")
    return [choice for choice in choices if not choice.startswith("_")]


def _division(member: "Trained", split: str, validation: bool) -> dict[str, float | None]:
    """What a checkpoint says of how its data were divided, as settings of `data`."""
    assert member.data is not None
    told = [key for key in _SPLIT if key not in _OF_FOLDS or key in member.data]
    division = {key: member.data.get(key) for key in told}
    for key, value in division.items():
        if not isinstance(value, int | float | None):
            raise LabError(f"{member.path}: doesn't describe its split: {key}={value}")
    test_size = member.data.get("test_size")
    if split == "all" and not validation:
        return {"train_size": None}
    if split == "all":
        division["train_size"] = None
    if isinstance(test_size, int | float):  # of a dataset without a test split of its own
        return {**division, "source.test_size": test_size}
    return {} if split == "test" and not validation else division


def _form(member: "Trained") -> dict[str, Any]:
    """What a checkpoint says of how pictures became images, likewise."""
    from mnist_lab.models.checkpoint import picture_form

    form = picture_form(member.data, member.path)
    return {f"source.{name}": value for name, value in form.items()}


def _use_root(cfg: DictConfig, roots: list[Any]) -> None:
    """The folder that was trained on, where the images are whatever lies in a folder.

    Of other datasets a checkpoint doesn't say where their files are fetched to.
    """
    if not roots or "root" in incidental(cfg.data.source._target_):
        return
    root = roots[0]
    if any(other != root for other in roots):
        raise LabError("data.root: the checkpoints were trained on different ones")
    if not isinstance(root, str) or not root.isprintable() or "${" in root:
        raise LabError(f"data.root: the checkpoint names none that can be used: {root!r}")
    cfg.data.root = root
    print(f"data.root={root}, which was trained on")

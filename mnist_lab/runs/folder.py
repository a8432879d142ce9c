"""A run's folder: who may use it, what it was made from, and what it holds already."""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from mnist_lab import LabError
from mnist_lab.runs.trust import vouch
from mnist_lab.settings import roles
from mnist_lab.settings.former import present
from mnist_lab.settings.identity import influential
from mnist_lab.settings.roles import Role
from mnist_lab.settings.signatures import locate
from mnist_lab.system.files import left_behind, whole

MAX_CONFIG_BYTES = 1 << 16
MAX_DEPTH = 30

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's where it is: 12 times as fast

# By which a folder without `config.yaml` is known to be in use for something else.
_WRITTEN = ("result.json", "metrics.csv", "predictions.csv", "per_class.csv", "report.html",
            "figures", "checkpoints")  # fmt: skip


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep every other process out of the folder.

    Raises:
        LabError: another process is using it.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise LabError(f"{folder}: another process is running in this folder") from None
    except OSError as error:
        raise LabError(f"{folder}: cannot be used: {error}") from error
    try:
        for place in (folder, folder / "checkpoints"):
            for path in left_behind(place) if place.is_dir() else ():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield
    finally:
        lock.release()


def read_config(folder: Path) -> dict[str, Any]:
    """What `config.yaml` says: plain data, nothing of it resolved or instantiated.

    Raises:
        LabError: no such file, or it isn't a configuration.
    """
    path = folder / "config.yaml"
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise LabError(f"{path}: larger than any configuration")
        text = path.read_text(encoding="utf-8")
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):  # before anything of it is built
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise LabError(f"{path}: nested too deeply")
            # An alias would let a few lines stand for a structure of any size.
            if isinstance(event, yaml.AliasEvent):
                raise LabError(f"{path}: contains YAML aliases")
        content = yaml.load(text, Loader=_Loader)
        plain = json.dumps(content)  # no dates, sets or bytes: nothing but what we write
        # Resolved when it was written, but for the folder: what is left would run a resolver.
        if "${" in plain.replace("${folder}", ""):
            raise LabError(f"{path}: contains an interpolation")
        content = json.loads(plain)  # every key a text
    except FileNotFoundError:
        raise LabError(f"{folder}: there is no run here (no config.yaml)") from None
    except LabError:
        raise
    except Exception as error:  # whatever the YAML reader makes of a text that isn't YAML
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LabError(f"{path}: cannot be read: {reason}") from error
    groups = ("data", "model", "trainer")
    if not (isinstance(content, dict) and all(isinstance(content.get(g), dict) for g in groups)):
        raise LabError(f"{path}: not the configuration of a run")
    content.pop("defaults", None)  # not of the run, but of repeating it
    return present(content)


def longer(folder: Path, plain: Mapping[str, Any]) -> bool:
    """Whether these settings have more epochs than those that the folder's run began with."""
    if not (folder / "config.yaml").exists():
        return False
    stored = read_config(folder)["trainer"].get("max_epochs")
    return bool(stored != plain["trainer"].get("max_epochs"))


def refuse_others(
    folder: Path, plain: Mapping[str, Any], incidental: Sequence[str] | None = None
) -> None:
    """Only a run with these settings, or none, may be in a folder that it is to use.

    Args:
        incidental: as `identity.influential` takes it.

    Raises:
        LabError: the folder is that of another run, or holds files that a run would replace.
    """
    if not (folder / "config.yaml").exists():
        for name in filter(lambda name: (folder / name).exists(), _WRITTEN):
            raise LabError(f"{folder}: holds something that is no run: {name}")
        return
    before = read_config(folder)
    one, other = (influential(each, incidental) for each in (before, plain))
    if one != other:
        keys = ", ".join(_differing(one, other)[:3])
        raise LabError(f"{folder}: holds a run with other settings: {keys}")


def begin(folder: Path, plain: Mapping[str, Any]) -> None:
    """Write `config.yaml`: from here on the folder is this run's; a result of fewer epochs goes.

    Raises:
        OSError: it cannot be written.
    """
    (folder / "result.json").unlink(missing_ok=True)
    with whole(folder / "config.yaml") as file:
        # By the defaults it composes as it stands: `--config-dir FOLDER --config-name config`.
        yaml.safe_dump({"defaults": ["door", "_self_"], **plain}, file, sort_keys=False)


def continued(
    folder: Path, changes: Mapping[str, Any], trust: Sequence[str] | None = None
) -> dict[str, Any]:
    """The stored configuration with the changes that may be made beside `resume`.

    Args:
        trust: as `vouch` takes it; None where what it names has been built already.

    Raises:
        LabError: a change that cannot be made, or no run to continue.
        ConfigError: it names what no run is built from.
    """
    plain = read_config(folder)
    if trust is not None:
        vouch(plain, trust)
        plain["trust"] = list(trust)  # whose classes teachers may be of: not the file's to say
    epochs = plain["trainer"].get("max_epochs")
    changeable = roles.keys(Role.CHANGEABLE)
    for key, value in changes.items():
        if key not in changeable:
            raise LabError(
                f"{key}: cannot be set beside resume={folder}, which has its own settings; "
                f"only these can: {', '.join(sorted(changeable))}"
            )
        _set(plain, key, value)
        if key in roles.REPEATED:
            _set(plain, roles.REPEATED[key], value)
    wanted = plain["trainer"].get("max_epochs")
    if wanted != epochs:
        if not (isinstance(wanted, int) and isinstance(epochs, int) and wanted > epochs):
            raise LabError(f"trainer.max_epochs={wanted}: can only grow, from {epochs}")
        scheduler = plain.get("scheduler")
        schedule = scheduler.get("_target_") if isinstance(scheduler, dict) else None
        if schedule and getattr(locate(schedule, "scheduler"), "bound_to_length", False):
            raise LabError(
                f"trainer.max_epochs={wanted}: {schedule} was laid out for {epochs} epochs"
            )
    return plain


def _set(nested: Any, key: str, value: Any) -> None:
    """Set one of nested values, where there is what it is a setting of."""
    *groups, name = key.split(".")
    for group in groups:
        nested = nested.get(group) if isinstance(nested, dict) else None
    if isinstance(nested, dict):
        nested[name] = value


def _differing(one: Mapping[str, Any], other: Mapping[str, Any], path: str = "") -> list[str]:
    names = []
    for key in dict.fromkeys([*one, *other]):
        a, b = one.get(key), other.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            names += _differing(a, b, f"{path}{key}.")
        elif a != b:
            names.append(f"{path}{key}")
    return names

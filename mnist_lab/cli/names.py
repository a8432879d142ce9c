"""Names that `conf/` computes: of new folders, of a sweep and its jobs.

Imports nothing heavy.
"""

import hashlib
import re
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import ListConfig, OmegaConf

from mnist_lab.settings.conf import CONF
from mnist_lab.settings.roles import mode_of, without_influence
from mnist_lab.settings.signatures import ConfigError
from mnist_lab.system.devices import threads
from mnist_lab.system.files import class_names


def register_resolvers() -> None:
    """Make known what `conf/` computes.

    `${class_names:FOLDER}` are the names of the folders in it, `${num_classes:}` is how many
    classes the dataset has, or None where only its class can say that, `${mode_of:METRIC}` whether
    less or more of it is better. `${moment:}` is date and time and eight hex digits, so that runs
    started together differ; `${run_folder:RESUME,CHOICES}` is the folder to continue in if one is
    given, else a new one.
    `${threads:DEVICES}` is how many threads each of a run's processes takes unless it is told.
    `${sweep_folder:NAME}` is a sweep's, new unless it is named, and
    `${job_name:OVERRIDES,SOURCE}` that of one of its jobs. `${text:NAME}` is `conf/NAME.yaml`'s own
    text, comments and all, but for its defaults and what it sets of Hydra.
    """
    OmegaConf.register_new_resolver("moment", moment, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("class_names", class_names, replace=True)
    OmegaConf.register_new_resolver("mode_of", mode_of, replace=True)
    OmegaConf.register_new_resolver("num_classes", _num_classes, replace=True)
    OmegaConf.register_new_resolver("run_folder", _run_folder, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("sweep_folder", _sweep_folder, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("job_name", job_name, replace=True)
    OmegaConf.register_new_resolver("threads", threads, replace=True)
    OmegaConf.register_new_resolver("text", _text, replace=True)


def _text(name: str) -> str:
    paragraphs = (Path(CONF) / f"{name}.yaml").read_text(encoding="utf-8").split("\n\n")
    kept = [part for part in paragraphs if not part.startswith(("defaults:", "hydra:"))]
    return "\n\n".join(kept).replace("$", "$$") + "\n"  # Hydra fills in what follows a $


def _num_classes(*, _root_: Any) -> int | None:
    classes = OmegaConf.select(_root_, "data.source.classes")
    if classes is not None:
        return classes if isinstance(classes, int) else len(classes)
    source = OmegaConf.select(_root_, "data.source._target_")
    return 10 if str(source).startswith("mnist_lab.data.") else None  # digits, Kaggle's


def moment() -> str:
    """Date and time and eight hex digits, to name a new folder by."""
    return f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{secrets.token_hex(4)}"


def _run_folder(resume: str | None, choices: Mapping[str, str]) -> str:
    if resume is None:
        names = [choices[group] for group in ("data", "model") if group in choices]
        return "/".join(["outputs", *(names or ["repeated"]), moment()])
    if not (Path(resume) / "config.yaml").is_file():  # else Hydra would make the folder
        raise ConfigError(f"resume={resume}: there is no run here (no config.yaml)")
    return resume


def _sweep_folder(name: object) -> str:
    if name is not None and not re.fullmatch(r"\w[\w.+-]{0,99}", str(name), re.ASCII):
        raise ConfigError(f"sweep={name}: should be a name of letters, digits and _.+-")
    return f"outputs/sweeps/{moment() if name is None else name}"


def as_typed(overrides: Sequence[str]) -> list[str]:
    """Overrides with their `${...}`, which nothing can be put in place of before there is a job."""
    given = OmegaConf.to_container(overrides) if isinstance(overrides, ListConfig) else overrides
    return [str(each) for each in given or ()]


MAX_JOB_NAME = 80  # characters


def job_name(overrides: Sequence[str], source: str | None = None) -> str:
    """What a sweep calls the folder of the job with these overrides, whatever their order.

    The names and values of what determines its result, as `batch_size-32_seed-0`. A hash ends the
    name where it would be too long, or where a value (a path, a list) can't stand in a name.

    Args:
        source: the class of the dataset's source: of some, `data.root` says which images.
    """
    given = dict(text.lstrip("+").partition("=")[::2] for text in as_typed(overrides))
    kept = {key: given[key] for key in sorted(given) if not without_influence(key, source)}
    last = {key: key.rpartition(".")[2] for key in kept}
    often = Counter(last.values())
    names = {key: key if often[last[key]] > 1 or key.startswith("~") else last[key] for key in kept}
    full = "_".join(f"{names[key]}-{value}" for key, value in kept.items())
    bare = {key: Path(value).name.strip("[](){}'\"") for key, value in kept.items()}
    name = "_".join(f"{names[key]}-{value}" for key, value in bare.items())
    name = re.sub(r"[^\w.+-]+", "-", name, flags=re.ASCII)
    if name == full and len(name) <= MAX_JOB_NAME:
        return name or "job"
    digest = hashlib.sha256(repr(kept).encode()).hexdigest()[:8]
    return f"{name.strip('-')[: MAX_JOB_NAME - 9]}-{digest}"

"""What is typed, made what Hydra reads: paths of any characters, settings that no YAML lists.

Imports nothing heavy, unless a setting is looked up in a class.
"""

import difflib
import itertools
import os
import re
import sys
from collections.abc import Sequence
from functools import cache, partial

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from mnist_lab.settings.conf import GROUPS
from mnist_lab.settings.roles import Role, role_of
from mnist_lab.settings.signatures import no_such_setting, settings_of

_LISTS = {"checkpoint", "runs", "distil.teachers"}  # which may be several paths, [PATH,PATH]
_SWEEP = {"-m", "--multirun"}
# From here on, as difflib measures it, a name is taken for a mistyped one of those that the YAML
# lists, before a class is asked, whose import takes long. No setting of a class that `conf/` names
# is as near to another; where one of your own is, a + sets it.
_MISTYPED = 0.85
# Groups whose files set something of those that describe an object.
_OVER_OTHERS = ("experiment", "study", "search", "arm")


def quote_paths(arguments: Sequence[str]) -> list[str]:
    """The arguments with every path quoted that Hydra would read as something else than itself.

    Others stay as they are: folders of a sweep's jobs are called by what stands there.
    What is quoted already, holds an interpolation (`${...}`) or, with -m, commas, is left to Hydra.
    """
    sweep = not _SWEEP.isdisjoint(arguments)
    made = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        name = key.lstrip("+")
        if Role.PLACE in role_of(name):
            choices = sweep and not name.startswith("hydra.")
            argument = f"{key}={_quoted(value, several=name in _LISTS, choices=choices)}"
        made.append(argument)
    return made


def _quoted(value: str, several: bool = False, choices: bool = False) -> str:
    if value in ("", "null"):
        return value
    if not os.path.lexists(value):
        if "${" in value or re.fullmatch(r"'.*'|\".*\"", value, re.DOTALL):
            return value
        lists = re.split(r"(?<=\]),(?=\[)", value) if several and choices else []
        if len(lists) > 1:  # [A],[B,C]
            return ",".join(_quoted(each, several=True) for each in lists)
        bracketed = several and re.fullmatch(r"\[.*\]", value, re.DOTALL)
        if bracketed or (choices and "," in value):
            joined = ",".join(map(_quoted, _parts(value[1:-1] if bracketed else value)))
            return f"[{joined}]" if bracketed else joined
        if choices and re.fullmatch(r"\w+\(.*\)", value, re.DOTALL):  # choice(a, b)
            return value
        value = os.path.expanduser(value)  # noqa: PTH111  # pathlib's drops a ./, too
    return value if _is_plain(value) else as_text(value.replace("${", r"\${"))


def _is_plain(value: str) -> bool:
    """Whether Hydra reads it as it is."""
    try:
        read = OverridesParser.create().parse_override(f"path={value}").value()
    except HydraException:
        return False
    return bool(read == value) and "${" not in value


def _parts(text: str) -> list[str]:
    """What stands between commas that are not within quotes."""
    if os.path.lexists(text):
        return [text]
    closed = r",(?=(?:[^'\"]|'[^']*'|\"[^\"]*\")*$)"  # in what follows, every quote is
    return [part.strip() for part in re.split(closed, text)]


def as_text(value: str) -> str:
    """A value quoted so that Hydra reads it as it is."""
    return QuotedString(value, Quote.single).with_quotes()


def add(error: Exception) -> bool:
    """Put a `++` before the setting that Hydra has refused, if the class chosen there has it.

    In a sweep another may be chosen for its jobs: `add_to_jobs` looks at these.

    Raises:
        ConfigError: the class has no such setting.
    """
    cause = error.__cause__
    if not isinstance(cause, ConfigAttributeError | ConfigKeyError) or cause.parent_node is None:
        return False
    key, node = str(cause.full_key), cause.parent_node
    group, _, name = key.rpartition(".")
    places = [i for i, each in enumerate(sys.argv) if each.startswith(f"{key}=")]
    if not places or key.partition(".")[0] not in GROUPS:
        return False
    mode = OmegaConf.select(node._get_root(), "hydra.mode")
    sweep = mode == RunMode.MULTIRUN or not _SWEEP.isdisjoint(sys.argv)
    start = f"{group}._target_="
    typed = [each.removeprefix(start) for each in sys.argv if each.startswith(start)]
    target = typed[-1] if typed and not sweep else OmegaConf.select(node, "_target_")
    if target is None and not sweep:
        return False
    listed = [str(each) for each in node]
    if difflib.get_close_matches(name, listed, n=1, cutoff=_MISTYPED):
        raise no_such_setting(key, listed)
    known = [] if target is None else settings_of(target, group)
    if known is None:  # a list by names, say: a new one is added with a + of the user's
        return False
    if name not in known and not sweep:
        raise no_such_setting(key, known)
    for place in places:
        sys.argv[place] = f"++{sys.argv[place]}"
    return True


def add_to_jobs(loader: ConfigLoader, cfg: DictConfig, overrides: Sequence[Override]) -> None:
    """Put a `++` before a sweep's settings that some choice's class has and its YAML does not list.

    Raises:
        ConfigError: a class has no such setting: of which choices it is.
    """
    choices = [each for each in overrides if _chooses(each, loader)]
    settings = [each for each in overrides if each not in choices and not each.is_add()]
    keys = [each.key_or_group for each in settings if not each.is_delete()]
    composed = cache(partial(_composed, loader, cfg))  # several settings ask for the same choices
    for key in dict.fromkeys(keys):
        first, (group, _, last) = key.partition(".")[0], key.rpartition(".")
        if first not in GROUPS or not group:
            continue
        deciding = (first, *_OVER_OTHERS)
        values = [
            _values(each)[: None if each.key_or_group.partition(".")[0] in deciding else 1]
            for each in choices
        ]
        missing, lacking, offered = False, [], []
        for chosen in itertools.product(*values):
            node = OmegaConf.select(composed(chosen), group)
            if OmegaConf.is_dict(node) and last in node:
                continue
            missing = True
            target = node.get("_target_") if OmegaConf.is_dict(node) else None
            known = [] if target is None else settings_of(target, group)
            if known is not None and last not in known:
                of = [c for c, several in zip(chosen, values, strict=True) if len(several) > 1]
                lacking.append(" ".join(of))
                offered.append(known)
        if lacking:
            raise no_such_setting(key, *offered, of=", ".join(lacking))
        if missing:
            _add(cfg, key)


def _composed(loader: ConfigLoader, cfg: DictConfig, choices: Sequence[str]) -> DictConfig:
    given = OmegaConf.to_container(cfg.hydra.overrides.hydra)  # not resolved
    assert isinstance(given, list)
    return loader.load_configuration(
        cfg.hydra.job.config_name, [*map(str, given), *choices], RunMode.RUN
    )


def _chooses(override: Override, loader: ConfigLoader) -> bool:
    """Whether it says which class there is, by a group's choice or by the class's name."""
    key = override.key_or_group
    return key.endswith("._target_") or bool(loader.get_group_options(key))


def _values(override: Override) -> list[str]:
    swept = override.is_sweep_override()
    texts = override.sweep_string_iterator() if swept else [override.get_value_element_as_str()]
    return [f"{override.get_key_element()}={text}" for text in texts]


def _add(cfg: DictConfig, key: str) -> None:
    typed = OmegaConf.to_container(cfg.hydra.overrides.task)  # not resolved
    assert isinstance(typed, list)
    cfg.hydra.overrides.task = [f"++{t}" if t.startswith(f"{key}=") else t for t in typed]
    params = cfg.hydra.sweeper.get("params") or {}
    if key in params:
        cfg.hydra.sweeper.params = {f"++{k}" if k == key else k: v for k, v in params.items()}

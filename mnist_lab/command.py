"""What all commands share at their door: computed names, errors in a line, the log.

Imports nothing heavy, as `config`.
"""

import hashlib
import logging
import os
import re
import secrets
import shlex
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from mnist_lab import LabError, arguments, processes, streams
from mnist_lab.config import CONF, ConfigError, hint, mode_of, without_influence
from mnist_lab.files import class_names


def register_resolvers() -> None:
    """Make known what `conf/` computes.

    `${class_names:FOLDER}` are the names of the folders in it, `${num_classes:}` is how many
    classes the dataset has, `${mode_of:METRIC}` whether less or more of it is better. `${moment:}`
    is date and time and eight hex digits, so that runs started together differ;
    `${run_folder:RESUME,CHOICES}` is the folder to continue in if one is given, else a new one.
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
    OmegaConf.register_new_resolver("text", _text, replace=True)


def _text(name: str) -> str:
    paragraphs = (Path(CONF) / f"{name}.yaml").read_text(encoding="utf-8").split("\n\n")
    kept = [part for part in paragraphs if not part.startswith(("defaults:", "hydra:"))]
    return "\n\n".join(kept).replace("$", "$$") + "\n"  # Hydra fills in what follows a $


def _num_classes(*, _root_: Any) -> int:
    classes = OmegaConf.select(_root_, "data.source.classes")
    return 10 if classes is None else len(classes)  # digits, whose source takes no names


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


class Single(Callback):
    """Of a command that is no sweep: refuses -m, and says what to give it instead."""

    def __init__(self, instead: str) -> None:
        self.instead = instead

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        # Of any other exception Hydra would only warn.
        sys.exit(f"{config.hydra.job.name} takes {self.instead}, not -m")


def run(main: Callable[[], Any]) -> None:
    """Call a Hydra main; what the user can put right ends in a line or two and exit status 1.

    Hydra's own lines on unknown names are long, and advise `+`. `HYDRA_FULL_ERROR=1`, which makes
    it raise instead of printing, is set for that; set by the user, it gives the traceback.

    Where the user hasn't said how OpenMP's threads wait for each other, they sleep after a
    thirtieth of the time that OpenMP keeps them awake: else two runs on the same cores hold each
    other up twentyfold (docs/performance.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # read when torch is loaded
    from hydra.core.config_store import ConfigStore
    from hydra.core.utils import JobReturn, JobStatus
    from hydra.errors import CompactHydraException, ConfigCompositionException

    def returned(job: JobReturn) -> Any:
        assert job.status != JobStatus.UNKNOWN
        if job.status == JobStatus.FAILED:
            raise job._return_value
        return job._return_value

    # Hydra's own also prints the job's settings, in a line before the one that says what is wrong.
    setter = vars(JobReturn)["return_value"].fset
    JobReturn.return_value = property(returned, setter)  # type: ignore[assignment]  # one property for another
    # Nobody changes Hydra's store of what its plugins can be set to: it gives out copies. For
    # --help it copies all of it 80 times, which takes as long as the rest.
    ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]  # has none
    # A run's further processes inherit what the first one set.
    full = os.environ.get("HYDRA_FULL_ERROR") == "1" and processes.rank() == 0
    os.environ["HYDRA_FULL_ERROR"] = "1"
    threading.excepthook = _quiet_writers
    streams.steady()
    sys.argv[1:] = arguments.quote_paths(sys.argv[1:])
    try:
        while True:
            try:
                main()
                break
            except ConfigCompositionException as error:
                if not arguments.add(error):
                    raise
    except (LabError, CompactHydraException, OmegaConfBaseException) as error:
        if full:
            raise
        sys.exit(told(error))
    except KeyboardInterrupt:  # outside of training, which ends by itself
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if full:
            raise
        sys.exit(str(error))
    except Exception as error:
        if not full and _of_a_launcher(error):
            sys.exit(
                f"The launcher failed: {_reason(error)}\n"
                "The same command again runs what is missing."
            )
        if not isinstance(error, ValueError):
            raise
        if not full and isinstance(error.__cause__, OSError):  # the log that cannot be opened
            sys.exit(str(error.__cause__))
        if full or not str(error).startswith("Config group override"):  # GROUP=null
            raise
        sys.exit("a group takes the name of a choice; mnist_lab.train --help lists them")
    finally:
        threading.excepthook = threading.__excepthook__
        if not full:
            del os.environ["HYDRA_FULL_ERROR"]


def _of_a_launcher(error: Exception) -> bool:
    """Whether it comes from what runs jobs elsewhere, and so says something about that place."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    places = [type(error).__module__, trace.tb_frame.f_globals["__name__"] if trace else ""]
    return any(place.partition(".")[0] in ("submitit", "ray", "joblib") for place in places)


def _reason(error: Exception) -> str:
    """The first line of what a launcher raised, or the last of the trace that submitit adds."""
    lines = str(error).strip().splitlines()
    if len(lines) > 1 and lines[0].endswith("with trace:"):
        lines = "\n".join(lines[2:]).partition("\n------")[0].strip().splitlines()[-1:]
    return next(iter(lines), type(error).__name__)


def _quiet_writers(failed: threading.ExceptHookArgs) -> None:
    # TensorBoard's thread also hands what it met, a full disk say, to whoever writes next.
    if not type(failed.thread).__module__.startswith("tensorboard."):
        threading.__excepthook__(failed)


def say_loading() -> None:
    """A first line at once: what follows it can take many seconds."""
    print("Loading PyTorch and Lightning ...", flush=True)


def told(error: Exception) -> str:
    """What to tell the user of an error that is theirs."""
    from hydra.errors import MissingConfigException, OverrideParseException

    if isinstance(error, OverrideParseException):
        key, equals, value = error.override.partition("=")
        if not equals or "missing EQUAL" in str(error):
            return f"{error.override}: should be a setting, KEY=VALUE"
        quoted = shlex.quote(f"{key}={arguments.as_text(value)}")
        return f"{error.override}: cannot be read; if it is a text: {quoted}"
    if isinstance(error, MissingMandatoryValue | InterpolationResolutionError):
        # The latter is around another: of a resolver of ours, or of a value that is missing.
        line = str(error).splitlines()[0].rpartition("while resolving interpolation: ")[2]
        key = line.removeprefix("Missing mandatory value: ")
        return line if key == line else f"{key}: a value is missing"
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        return f"{group}={name}: no such choice{hint(name, error.options)}"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.parent_node is not None:
        known = [str(key) for key in cause.parent_node]
        return f"{cause.full_key}: no such setting{hint(str(cause.key), known)}"
    if str(error).startswith("Error merging override ") and "ListConfig" in str(cause):
        key, _, value = (
            str(error).removeprefix("Error merging override ").lstrip("+").partition("=")
        )
        return f"{key}: holds settings by name; a list takes their place with ~{key} +{key}={value}"
    if "An item is already at" in str(error):
        return f"{str(error).split(chr(39))[1]}: is set without a +"
    for typed in sys.argv[1:]:  # of a group with a +, Hydra speaks of its files' syntax
        group = typed.partition("=")[0].lstrip("+")
        starts = (f"Multiple values for {group}.", "force-add of config groups")
        if typed.startswith("+") and str(error).startswith(starts):
            return f"{typed}: is chosen without a +, {typed.lstrip('+')}"
    return str(error)


class ConsoleHandler(logging.Handler):
    """Lines as they are, however long: above the live progress bar, where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if sys.stdout.isatty():
            import rich

            rich.get_console().out(line, highlight=False)
        else:
            print(line, flush=True)


def console_for_warnings() -> None:
    """Keep what a run logs for its file, where many runs or processes share a console."""
    for handler in logging.root.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.WARNING)


class LogFile(logging.FileHandler):
    """A log that cannot be written is an error like any other, not a traceback on the console."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        raise  # called while the error is being handled

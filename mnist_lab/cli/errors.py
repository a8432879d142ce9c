"""What a command tells of an error that is the user's."""

import shlex
import sys

from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from mnist_lab import LabError
from mnist_lab.cli import arguments
from mnist_lab.settings.signatures import hint, no_such_setting


def line_of(error: Exception) -> str | None:
    """What a command ends with; None where the error is one of ours."""
    from hydra.errors import CompactHydraException

    if isinstance(error, LabError | CompactHydraException | OmegaConfBaseException):
        return told(error)
    if isinstance(error, OSError):
        return str(error)
    if _of_a_launcher(error):
        again = "The same command again runs what is missing."
        return f"The launcher failed: {reason_of(error)}\n{again}"
    if isinstance(error, ValueError) and isinstance(error.__cause__, OSError):
        return str(error.__cause__)  # of the log that cannot be opened
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        return "a group takes the name of a choice; mnist_lab.train --help lists them"  # GROUP=null
    return None


def _of_a_launcher(error: Exception) -> bool:
    """Whether it comes from what runs jobs elsewhere, and so says something about that place."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    places = [type(error).__module__, trace.tb_frame.f_globals["__name__"] if trace else ""]
    return any(place.partition(".")[0] in ("submitit", "ray", "joblib") for place in places)


def reason_of(error: Exception) -> str:
    """The first line of what a launcher raised, or the last of the trace that submitit adds."""
    lines = str(error).strip().splitlines()
    if len(lines) > 1 and lines[0].endswith("with trace:"):
        lines = "\n".join(lines[2:]).partition("\n------")[0].strip().splitlines()[-1:]
    return next(iter(lines), type(error).__name__)


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
        choices = [choice for choice in error.options if not choice.startswith("_")]
        return f"{group}={name}: no such choice{hint(name, choices)}"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.parent_node is not None:
        key = str(cause.full_key)
        named = key.startswith(("trainer.callbacks.", "trainer.logger."))
        if named and any(each.startswith((f"{key}={{", f"{key}._target_=")) for each in sys.argv):
            return f"{key}: there is none yet; a new one is set with a +, +{key}=..."
        return str(no_such_setting(key, [str(each) for each in cause.parent_node]))
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

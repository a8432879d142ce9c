"""`result.json`: what a finished run says of itself.

Imports neither torch nor lightning, for those who read ten thousand of them.
"""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mnist_lab import LabError
from mnist_lab.system.files import whole

MAX_BYTES = 1 << 22

Status = Literal["completed", "diverged", "pruned"]
"""How a run ended: as it should, without finite numbers, or given up as hopeless."""

Count = Annotated[int, Field(ge=0, le=1 << 60)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Stored(BaseModel):
    """Values as a file has them: no text passes for a number, and no number for another."""

    model_config = ConfigDict(frozen=True, strict=True)


class ClassScores(_Stored):
    """How well one class of the test split was told from the others.

    A share is None where nothing can be said, and in files of other tools that lack it.
    """

    model_config = ConfigDict(extra="allow")  # of metrics by class that come later

    precision: Share | None = None
    recall: Share | None
    f1: Share | None = None
    support: Count


class Seconds(_Stored):
    """What a run's phases took; None of one that it didn't come to."""

    data: float | None = None
    fit: float | None = None
    test: float | None = None
    total: float | None = None


class Commit(_Stored):
    """The code's state in git."""

    commit: str
    dirty: bool


class Result(_Stored):
    """A finished run's numbers and circumstances, in the order of its file.

    What has a default is lacking in files of earlier versions or of other tools.

    Attributes:
        metrics: `val/...` of the best epoch and `test/...`, None of what was not measured.
        per_class: of the test split, by the classes' names; None of a run that wasn't tested.
        best_epoch: the one whose weights were tested, from 0; None of a run that was not completed.
        ended_by: the setting or event that ended training.
        weights: of which the metrics are, and which `best.ckpt` holds: as they were `trained`, or
            the `averaged` ones.
        parameters: those that can be trained.
        config_hash: of the settings that influence the result.
        git: None of an installed package.
        reason: of a run that diverged or was pruned.
    """

    status: Status
    metrics: dict[str, float | None]
    per_class: dict[str, ClassScores] | None = None
    best_epoch: Count | None = None
    epochs: Count
    steps: Count | None = None
    ended_by: str | None = None
    weights: Literal["trained", "averaged"] | None = None
    parameters: Count
    seconds: Seconds
    images_per_second: float | None = None
    seed: int
    dataset: str
    model: str
    device: str
    precision: str | None = None
    threads: Count | None = None
    config_hash: str | None = None
    versions: dict[str, str]
    git: Commit | None = None
    reason: str | None = None

    @classmethod
    def read(cls, folder: Path) -> "Result | None":
        """That of the run in this folder, or None while there is none.

        Raises:
            LabError: `result.json` isn't one.
        """
        path = folder / "result.json"
        try:
            if path.stat().st_size > MAX_BYTES:
                raise LabError(f"{path}: larger than any result")
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LabError(f"{path}: cannot be read: {error}") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if first["type"] == "json_invalid":
                raise LabError(f"{path}: cannot be read: {first['msg']}") from error
            key = ".".join(map(str, first["loc"]))
            raise LabError(f"{path}: {key}: {first['msg']}: not the result of a run") from error

    def write(self, folder: Path) -> None:
        """As `result.json`, last and whole: it says that the run is finished."""
        with whole(folder / "result.json") as file:
            json.dump(self.model_dump(exclude_unset=True), file, indent=2)
            file.write("\n")


@cache  # three processes, and whatever happens to the files, this one has loaded the code
def git() -> Commit | None:
    """The checkout that the package lies in, when first asked; None of an installed one."""
    package = Path(__file__).resolve().parents[1]

    def answer(*args: str) -> str:
        command = ["git", "-C", str(package), *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        if Path(answer("rev-parse", "--show-toplevel")) != package.parent:
            return None
        dirty = bool(answer("status", "--porcelain"))
        return Commit(commit=answer("rev-parse", "HEAD"), dirty=dirty)
    except (OSError, subprocess.CalledProcessError):  # no git here, or no repository
        return None

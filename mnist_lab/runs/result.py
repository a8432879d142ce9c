"""`result.json`: what a finished run says of itself."""

import json
import logging
import subprocess
from pathlib import Path
from typing import Any

from mnist_lab.system.files import whole

log = logging.getLogger(__name__)


Result = dict[str, Any]


def write_result(folder: Path, result: Result) -> None:
    """`result.json`, last and whole: it says that the run is finished."""
    with whole(folder / "result.json") as file:
        json.dump(result, file, indent=2)
        file.write("\n")


def git() -> dict[str, str | bool] | None:
    """Commit and cleanness of the checkout that the package lies in; None for an installed one."""
    package = Path(__file__).resolve().parents[1]

    def told(*args: str) -> str:
        command = ["git", "-C", str(package), *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        if Path(told("rev-parse", "--show-toplevel")) != package.parent:
            return None
        return {"commit": told("rev-parse", "HEAD"), "dirty": bool(told("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):  # no git here, or no repository
        return None

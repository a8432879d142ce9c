"""The command `python -m mnist_lab.compare`: many runs, and what they say together."""

import contextlib
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from mnist_lab import LabError
from mnist_lab.cli import command
from mnist_lab.cli.names import moment, register_resolvers
from mnist_lab.settings import signatures
from mnist_lab.settings.conf import CONF
from mnist_lab.system.imports import swift_imports

register_resolvers()


@hydra.main(version_base="1.3", config_path=CONF, config_name="compare")
def main(cfg: DictConfig) -> None:
    """Read, compare, print, write."""
    _compare(_texts(cfg.runs), cfg.output, cfg.metric)


def _texts(runs: object) -> list[str]:
    texts = OmegaConf.to_container(runs) if OmegaConf.is_list(runs) else [runs]
    assert isinstance(texts, list)
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise signatures.ConfigError(
            f"runs={runs}: name a folder of runs, several, or patterns: runs=outputs/sweeps/NAME"
        )
    return texts


def _compare(runs: list[str], output: str | None, metric: str | None) -> None:
    with swift_imports():
        from mnist_lab.comparison import gather

    folders = gather.find(runs)
    print(f"Reading {len(folders):,} run{'s' * (len(folders) != 1)} ...", flush=True)
    finished, left_out = gather.read(folders, metric)
    if not finished:
        first = left_out[0]
        raise LabError(
            f"runs={','.join(runs)}: none of {len(left_out)} runs can be compared; "
            f"{first.folder}: {first.reason}"
        )
    alone = runs[0] if len(runs) == 1 and Path(runs[0]).is_dir() else None
    folder = Path(output or alone or f"outputs/comparisons/{moment()}")
    with _written(folder):  # before figures are drawn for it
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    with swift_imports():
        from rich.console import Console

        from mnist_lab.comparison import boards, rendering
        from mnist_lab.comparison.groups import arrange
        from mnist_lab.comparison.sections import Section
        from mnist_lab.comparison.varied import printable

    tables = arrange(finished, left_out)
    sections = [Section.of(table) for table in tables]
    console = Console()
    if not console.is_terminal:
        console.width = 160
    rendering.say(console, sections, left_out)
    with _written(folder):
        paths = rendering.write(folder, tables, sections, left_out)
        groups = folder / "compare_tensorboard"
        traced = boards.write(groups, tables, [section.curves for section in sections])
    where = f"\n{len(paths)} files in {printable(str(folder))}: compare.html shows all of them"
    console.print(where, markup=False, soft_wrap=True)
    if traced:
        dashboard = f"Curves of groups: tensorboard --logdir {shlex.quote(str(groups))}"
        console.print(printable(dashboard), markup=False, soft_wrap=True)


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[None]:
    """What is written within goes into the folder; an error says which setting names it."""
    try:
        yield
    except OSError as error:
        raise LabError(f"output={folder}: cannot be written to: {error}") from error


if __name__ == "__main__":
    command.run(main)

"""The command `python -m mnist_lab.evaluate`: how good checkpoints are on labelled images."""

from pathlib import Path
from typing import Annotated, Any, Literal

import hydra
from annotated_types import Interval
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mnist_lab import LabError
from mnist_lab.cli import command
from mnist_lab.cli.names import moment, register_resolvers
from mnist_lab.settings import signatures
from mnist_lab.settings.conf import CONF
from mnist_lab.settings.ranges import Count, Seed, Share
from mnist_lab.system.devices import threads
from mnist_lab.system.imports import swift_imports

ErrorRate = Annotated[float, Interval(gt=0, le=1)]

register_resolvers()


def main() -> None:
    """One evaluation, or several, and the table of them."""
    with command.Table.at_the_end(_show_all):
        _main()


@hydra.main(version_base="1.3", config_path=CONF, config_name="evaluate")
def _main(cfg: DictConfig) -> None:
    """Evaluate as composed; table, files and figures into `output`."""
    hydra_config = HydraConfig.get()
    try:
        own = [str(key) for key in cfg if key not in ("data", "augment", "corrupt", "attack")]
        settings: Any = OmegaConf.to_container(
            OmegaConf.masked_copy(cfg, own), resolve=True, throw_on_missing=True
        )
        signatures.check(settings, _evaluate)
        _evaluate(**settings)
    except LabError as error:
        if hydra_config.mode == RunMode.MULTIRUN:  # the command's end tells the first one alone
            folder = Path(hydra_config.runtime.output_dir)
            print(f"#{folder.name}: {error}")
            folder.rmdir()
        raise


def _evaluate(
    checkpoint: str | list[str],
    split: Literal["test", "val", "train", "all"],
    tta: int,
    inside: int | None,
    seed: Seed,
    output: str | None,
    overwrite: bool,
    batch_size: Count,
    device: str,
    trust: list[str],
    disputed: dict[str, dict[str, list[int]]],
    reference: dict[str, dict[str, dict[str, ErrorRate] | None]],
    calibrate: bool,
    accuracy: Share | None,
    foreign: str | list[str],
) -> None:
    """With the root of `conf/evaluate.yaml`, but for its groups."""
    paths = [checkpoint] if isinstance(checkpoint, str) else checkpoint
    new = f"outputs/evaluations/{moment()}"
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        if output is not None:
            raise LabError(f"output={output}: -m gives each a folder of its own")
        new = HydraConfig.get().runtime.output_dir
    folder = Path(output or new)

    command.say_loading()
    with swift_imports():
        import torch

        from mnist_lab.cli.dataset import dataset, foreign_datasets
        from mnist_lab.reports import evaluation_told, evaluations
        from mnist_lab.reports.evaluation_folder import refuse_taken
        from mnist_lab.runs import trained

    torch.set_num_threads(threads())  # as the run's own test: bitwise the same probabilities
    refuse_taken(folder, overwrite)
    members = trained.load_all(paths, device, trust)
    data, damages = dataset(members, split, validation=calibrate or accuracy is not None)
    names = [foreign] if isinstance(foreign, str) else foreign
    numbers = evaluations.evaluate(
        members,
        data,
        folder,
        split=split,
        **damages,
        seed=seed,
        tta=tta,
        inside=inside,
        disputed=disputed.get(data.source.name, {}).get(split, []),
        reference=reference.get(data.source.name, {}).get(split),
        calibrate=calibrate,
        accuracy=accuracy,
        foreign=foreign_datasets(names, members, data),
        batch_size=batch_size,
        overwrite=overwrite,
    )
    evaluation_told.show(numbers)
    print(f"Evaluation: {folder}")


def _show_all(folder: Path) -> None:
    from mnist_lab.reports.evaluation_sweep import show_all

    show_all(folder)


if __name__ == "__main__":
    command.run(main)

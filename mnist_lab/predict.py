"""The command `python -m mnist_lab.predict`: labels for images that have none."""

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hydra
from omegaconf import DictConfig, OmegaConf

from mnist_lab import FileOrSettingError
from mnist_lab.cli import command
from mnist_lab.cli.names import register_resolvers
from mnist_lab.settings import signatures
from mnist_lab.settings.conf import CONF

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from mnist_lab.models import Classifier

register_resolvers()


@hydra.main(version_base="1.3", config_path=CONF, config_name="predict")
def main(cfg: DictConfig) -> None:
    """Predictions as composed, into `output`."""
    settings: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    command.say_loading()
    signatures.check(settings, predict)
    predict(**settings)


def predict(
    checkpoint: str,
    input: str,
    output: str | None = None,
    format: Literal["csv", "kaggle"] = "csv",
    overwrite: bool = False,
    batch_size: int = 500,
    device: str = "auto",
    trust: tuple[str, ...] | list[str] = (),
    invert: bool | None = None,
    scale: float | None = None,
    transpose: bool | None = None,
) -> int:
    """Write the table of predictions; how many there are.

    Args:
        checkpoint: a run's folder, or a checkpoint.
        input: a picture, a folder of pictures, an IDX file, or a table, as text or array.
        format: `csv` has the columns file (or index, from 0), prediction (the class's name),
            confidence and each class's probability; `kaggle` has ImageId, from 1 (or the numbers
            that pictures are called by), and Label.
        invert, scale, transpose: what to do to the images of a table or IDX file; where it isn't
            said, ones that look unlike those trained on are refused, or told.

    Raises:
        LabError: a file or a setting that cannot be used; there is no output then. Unreadable
            pictures among others are told, and only when all the rest has been written.
    """
    target = Path(output or {"csv": "predictions.csv", "kaggle": "submission.csv"}[format])
    if target.exists() and not (overwrite and target.is_file()):
        remedy = "exists; overwrite=true replaces it"
        if not target.is_file():  # a pipe or device would be replaced, too
            remedy = f"is {'a folder' if target.is_dir() else 'no file that could be replaced'}"
        raise FileOrSettingError(f"output={target}: {remedy}")
    if scale is not None and not 0 < scale < math.inf:
        raise FileOrSettingError(f"scale must be positive, not {scale}")
    if batch_size < 1:
        raise FileOrSettingError(f"batch_size must be at least 1, not {batch_size}")

    from tqdm import tqdm

    from mnist_lab.data.inputs import image_ids, open_images
    from mnist_lab.runs import predictions, trained
    from mnist_lab.runs.likeness import Remedies
    from mnist_lab.system.files import whole

    network = trained.load(checkpoint, device, trust)
    model, classes = network.model, network.classes
    if len(model.mean) != 1:
        raise FileOrSettingError(
            f"checkpoint={checkpoint}: takes images of {len(model.mean)} channels; predict reads "
            "grey ones"
        )
    remedies = Remedies(invert, transpose, scale)
    images = open_images(Path(input), batch_size, classes=len(classes), scale=scale)
    if images.names is not None and remedies != Remedies():
        raise FileOrSettingError(
            "invert, scale and transpose are for tables and IDX files; pictures are brought into "
            "form by themselves"
        )
    if images.understood:
        print(f"{input} is read thus: {'; '.join(images.understood)}")
    if images.others:
        names = ", ".join(path.name for path in images.others[:3])
        more = f" and {len(images.others) - 3} more" if len(images.others) > 3 else ""
        print(f"Left alone, being no pictures: {names}{more}", file=sys.stderr)
    numbers = image_ids(images.names or [])
    done = 0
    try:
        with (
            whole(Path(os.path.realpath(target)), "wb") as file,  # a link stays one
            tqdm(total=images.total, unit=" images", disable=None) as bar,
        ):
            for places, taken in images.batches:
                batch = remedies(taken)
                if not done and images.names is None:
                    odd = remedies.examine(batch, network, f"input={input}")
                    if odd is not None:
                        print(odd, file=sys.stderr)
                found = _probabilities(model, batch)
                if format == "kaggle":
                    ids = (places + 1).tolist()
                    if images.names is not None:
                        ids = [numbers[place] for place in places.tolist()]
                    table = _submission(ids, found, classes)
                elif images.names is None:
                    table = predictions.table({"index": places.tolist()}, found, classes)
                else:
                    files = [images.names[place] for place in places.tolist()]
                    table = predictions.table({"file": files}, found, classes)
                table.write_csv(file, include_header=not done)
                done += len(batch)
                bar.update(len(batch))
            if not done:
                raise FileOrSettingError(f"none of {images.total} readable: {images.refused[0]}")
    except OSError as error:
        raise FileOrSettingError(f"output={target}: cannot be written: {error}") from error
    if images.names is not None and images.total == 1:
        confidence, guess = found[0].max(0)
        print(f"{images.names[0]}: {classes[int(guess)]}, with a confidence of {confidence:.3f}")
    print(f"{done} prediction{'s' * (done != 1)}: {target}")
    for fault in images.refused:
        print(fault, file=sys.stderr)
    if images.refused:
        raise FileOrSettingError(
            f"{len(images.refused)} of {images.total} pictures were not readable"
        )
    return done


def _probabilities(model: "Classifier", images: "Tensor") -> "Tensor":
    import torch

    with torch.inference_mode():
        probabilities: Tensor = model(images.to(model.device)).softmax(1).cpu()
    return probabilities


def _submission(ids: list[int], probabilities: "Tensor", classes: list[str]) -> "pl.DataFrame":
    import polars as pl

    guess = pl.Series(classes).gather(probabilities.argmax(1).numpy())
    return pl.DataFrame({"ImageId": ids, "Label": guess})


if __name__ == "__main__":
    command.run(main)

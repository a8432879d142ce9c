"""Labels for images that have none, as a run's network gives them.

Imports nothing heavy before its settings have been looked at.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mnist_lab import LabError, first_few
from mnist_lab.settings.ranges import Count, Positive, Share, ranged
from mnist_lab.system.files import output_file, refuse_taken
from mnist_lab.system.imports import swift_imports

if TYPE_CHECKING:
    from mnist_lab.data.inputs import Images, Pages
    from mnist_lab.data.pictures import Shape
    from mnist_lab.runs.likeness import Remedies
    from mnist_lab.runs.trained import Trained


@ranged
def predict(
    checkpoint: str,
    input: str,
    output: str | None = None,
    format: Literal["csv", "kaggle"] = "csv",
    overwrite: bool = False,
    batch_size: Count = 500,
    device: str = "auto",
    trust: Sequence[str] = (),
    invert: bool | None = None,
    scale: Positive | None = None,
    transpose: bool | None = None,
    temperature: Positive = 1.0,
    confident: Share | None = None,
    lines: bool = False,
    boxes: str | None = None,
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
        temperature: by which logits are divided before probabilities are made of them, as
            `evaluate calibrate=true` finds it.
        confident: the least confidence of a prediction. Where it is less, the prediction is `?`,
            and the likeliest class stands in a column `guess`.
        lines: whether pictures are pages with lines of digits: the table has a row a digit then,
            with its line, its place there and its box (left, top, width, height, in pixels).
        boxes: a folder for these pages with a frame around each digit.

    Raises:
        LabError: a file or a setting that cannot be used; there is no output then. Unreadable
            pictures among others are told, and only when all the rest has been written.
    """
    target = Path(output or {"csv": "predictions.csv", "kaggle": "submission.csv"}[format])
    refuse_taken(target, overwrite)
    if confident is not None and format == "kaggle":
        raise LabError(f"confident={confident}: a submission has a label for every image")
    if lines and format == "kaggle":
        raise LabError("lines=true: a submission has a label for every picture, not for its digits")
    if boxes is not None and not lines:
        raise LabError(f"boxes={boxes}: digits are framed with lines=true alone")

    with swift_imports():
        from mnist_lab.data.inputs import Images, open_images, open_pages
        from mnist_lab.runs import trained
        from mnist_lab.runs.likeness import Remedies

    network = trained.load(checkpoint, device, trust)
    whole = _whole(network)
    if whole is not None and lines:
        raise LabError(f"lines=true: {checkpoint} was trained on whole pictures, not on digits")
    if whole is not None and scale is not None:
        raise LabError(f"scale={scale}: {checkpoint} takes bytes as they are, of whole pictures")
    remedies = Remedies(invert, transpose, scale)
    images: Images | Pages = (
        open_pages(Path(input))
        if lines
        else open_images(
            Path(input), batch_size, classes=len(network.classes), scale=scale, whole=whole
        )
    )
    if images.names is not None and remedies != Remedies():
        raise LabError(
            "invert, scale and transpose are for tables and IDX files; pictures are brought into "
            "form by themselves"
        )
    if images.others:
        names = first_few([path.name for path in images.others])
        print(f"Left alone, being no pictures: {names}", file=sys.stderr)
    if isinstance(images, Images):
        count = _label(target, images, network, remedies, format, input, temperature, confident)
    else:
        from mnist_lab.runs.pages import label_pages

        drawn = None if boxes is None else Path(boxes)
        count = label_pages(
            target, images, network, batch_size, temperature, confident, drawn, overwrite
        )
    for fault in images.refused:
        print(fault, file=sys.stderr)
    if images.refused:
        raise LabError(f"{len(images.refused)} of {images.total} pictures were not readable")
    return count


def _whole(network: "Trained") -> "Shape | None":
    """The shape of the images that it was trained on, if these were whole pictures."""
    from mnist_lab.data.pictures import Shape

    channels = len(network.model.mean)
    if channels == 1 and not (network.data or {}).get("whole"):
        return None
    if network.typical is None or channels not in (1, 3):
        raise LabError(
            f"checkpoint={network.path}: takes images of {channels} channels, and doesn't say how "
            "a picture becomes one"
        )
    return Shape(channels, *network.typical.means.shape[-2:])


def _label(
    target: Path,
    images: "Images",
    network: "Trained",
    remedies: "Remedies",
    format: str,
    input: str,
    temperature: float,
    confident: float | None,
) -> int:
    """Write the table, and say what is in it; how many predictions there are."""
    import torch
    from tqdm import tqdm

    from mnist_lab.data.inputs import image_ids
    from mnist_lab.runs import predictions

    if images.understood:
        print(f"{input} is read thus: {'; '.join(images.understood)}")
    model, classes, names = network.model, network.classes, images.names
    numbers = image_ids(names or [])
    count = unsure = 0
    with (
        output_file(target) as file,
        tqdm(total=images.total, unit=" images", disable=None) as bar,
        torch.inference_mode(),
    ):
        for indices, pixels in images.batches:
            batch, places = remedies(pixels), indices.tolist()
            if not count and names is None:
                oddity = remedies.examine(batch, network, f"input={input}")
                if oddity is not None:
                    print(oddity, file=sys.stderr)
            probabilities = (model(batch.to(model.device)) / temperature).softmax(1).cpu()
            if format == "kaggle":
                ids = [place + 1 if names is None else numbers[place] for place in places]
                table = predictions.submission(ids, probabilities, classes)
            else:
                called: dict[str, list[int] | list[str]] = (
                    {"index": places}
                    if names is None
                    else {"file": [names[place] for place in places]}
                )
                table = predictions.table(called, probabilities, classes, confident=confident)
            if confident is not None:
                unsure += int((probabilities.amax(1) < confident).sum())
            table.write_csv(file, include_header=not count)
            count += len(batch)
            bar.update(len(batch))
        if not count:
            raise LabError(f"none of {images.total} readable: {images.refused[0]}")
    if names is not None and images.total == 1:
        confidence, guess = probabilities[0].max(0)
        doubt = "?, at best " if unsure else ""
        likeliest = classes[int(guess)]
        print(f"{names[0]}: {doubt}{likeliest}, with a confidence of {confidence:.3f}")
    among = "" if confident is None else f", {unsure} of them ?"
    print(f"{count} prediction{'s' * (count != 1)}{among}: {target}")
    return count

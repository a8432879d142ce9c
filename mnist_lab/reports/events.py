"""TensorBoard's event files: how curves are called in them, and one written without torch."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:  # takes a while
    from torch.utils.tensorboard import SummaryWriter


FIGURES = {
    "confusion_matrix": "test/confusion",
    "mistakes": "mistakes",
    "filters": "filters",
    "corruptions": "test/corruptions",
}
"""Which of a run's figures TensorBoard shows, and as what."""


def tag(metric: str) -> str:
    """What TensorBoard shows a metric as: `train/loss` is `Loss/train`.

    It opens on the first two groups of curves, capitals before small letters: accuracy and loss.
    """
    split, _, quantity = metric.partition("/")
    first = split in ("train", "val") and quantity in ("loss", "accuracy")
    return f"{quantity.title()}/{split}" if first else metric


def add(board: Any, summary: Any, step: int) -> None:
    """Add what a `SummaryWriter` has no method for."""
    board._get_file_writer().add_summary(summary, step)


def add_png(board: "SummaryWriter", tag: str, path: Path, step: int) -> None:
    """Add a picture as its file has it, without decoding it."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    with Image.open(path) as picture:
        width, height = picture.size
    content = path.read_bytes()
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=content)
    add(board, Summary(value=[Summary.Value(tag=tag, image=image)]), step)


def write(path: Path, steps: Mapping[int, Mapping[str, float]], layout: Any = None) -> None:
    """An event file of scalars by step and tag, in place of another of its name.

    Args:
        path: the name must have `tfevents` in it.
        layout: of the page of custom scalars, `tensorboard.plugins.custom_scalar.layout_pb2`'s.

    Raises:
        OSError: it cannot be written.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    now = time.time()
    events = [Event(wall_time=now, file_version="brain.Event:2")]
    if layout is not None:
        events.append(Event(wall_time=now, summary=Summary(value=[_layout(layout)])))
    for step, values in steps.items():
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        events.append(Event(wall_time=now, step=step, summary=Summary(value=scalars)))
    # Who reads such a file expects that it grows, and takes one that was cut for what it holds.
    with open(path, "wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())


def _layout(layout: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.plugins.custom_scalar import metadata

    content = TensorProto(dtype="DT_STRING", string_val=[layout.SerializeToString()])
    known = metadata.create_summary_metadata()
    return Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, tensor=content, metadata=known)

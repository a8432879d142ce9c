"""What TensorBoard's projector reads: an embedding with labels and pictures of its images."""

from io import StringIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from mnist_lab.data import DataModule
from mnist_lab.models import Classifier, inside
from mnist_lab.system.files import whole

_EMBEDDED = 1000  # images


def write_embedding(folder: Path, model: Classifier, data: DataModule, guesses: Tensor) -> None:
    """The projector's files: vectors, labels and pictures of test images from all parts of it.

    Args:
        guesses: the predicted class of each test image, `(N,)`; of the first, if not all were seen.
    """
    images, labels = (part[: len(guesses)] for part in data.tensors("test"))
    every = -(-len(labels) // _EMBEDDED)
    images, labels = images[::every].to(model.device), labels[::every].cpu()
    vectors = inside.embedding(model, images)
    names = [" ".join(name.split()) for name in data.classes]
    metadata = StringIO("label\tprediction\tindex\n")
    metadata.seek(0, 2)
    for number, (label, guess) in enumerate(zip(labels, guesses[::every], strict=True)):
        metadata.write(f"{names[label]}\t{names[guess]}\t{number * every}\n")
    pictures = enlarged(seen(model, images), 32)
    sprite = tiled(pictures, int(np.ceil(len(pictures) ** 0.5))).permute(1, 2, 0).numpy()
    with whole(folder / "embedding.tsv", "wb") as file:
        np.savetxt(file, vectors.numpy(), fmt="%.5f", delimiter="\t")
    with whole(folder / "embedding_labels.tsv") as file:
        file.write(metadata.getvalue())
    with whole(folder / "embedding_images.png", "wb") as file:
        Image.fromarray(sprite).save(file, "PNG")
    with whole(folder / "projector_config.pbtxt") as file:
        file.write(_PROJECTOR.format(width=pictures.shape[3], height=pictures.shape[2]))


_PROJECTOR = """\
embeddings {{
  tensor_name: "penultimate layer, test images"
  tensor_path: "embedding.tsv"
  metadata_path: "embedding_labels.tsv"
  sprite {{
    image_path: "embedding_images.png"
    single_image_dim: {width}
    single_image_dim: {height}
  }}
}}
"""


def seen(model: Classifier, images: Tensor) -> Tensor:
    """Images as the network is shown them, but for normalisation: `(N, 3, S, S)` uint8, on the
    CPU."""
    parts = []
    for part in torch.split(
        images, 100
    ):  # as floats they take four times the room, several times over
        shown = model.preprocess(part.to(model.device)) * model.std + model.mean
        parts.append((255 * shown.float().clamp(0, 1)).round().to(torch.uint8).cpu())
    return torch.cat(parts).expand(-1, 3, -1, -1)


def enlarged(images: Tensor, size: int) -> Tensor:
    """Images `(N, C, H, W)` with every pixel repeated until they are about so large, or thinned."""
    times, step = max(1, size // images.shape[3]), -(-images.shape[3] // size)
    return images[..., ::step, ::step].repeat_interleave(times, 2).repeat_interleave(times, 3)


def tiled(images: Tensor, columns: int, gap: int = 0) -> Tensor:
    """Images `(N, C, H, W)` uint8 side by side in one, row by row: `(C, height, width)`."""
    cells = functional.pad(images, (0, gap, 0, gap), value=255)
    rows = -(-len(cells) // columns)
    table = cells.new_full((rows * columns, *cells.shape[1:]), 255)
    table[: len(cells)] = cells
    _, channels, height, width = cells.shape
    table = table.view(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)
    return table.reshape(channels, rows * height, columns * width)

"""What every model does with images before its network is shown them."""

from typing import Literal

import lightning.pytorch as L
import torch
from torch import Tensor
from torch.nn import functional

from mnist_lab import LabError


class Preprocessing(L.LightningModule):
    """Size, scale and normalisation of images, as a checkpoint carries them.

    Attributes:
        mean: of the pixels of each channel, `(C, 1, 1)`, from 0 to 1.
        std: their deviation, likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        resize: Literal["bilinear", "pad"],
        normalize: Literal["train", "none"],
    ) -> None:
        super().__init__()
        self.image_size, self.resize, self.normalize = image_size, resize, normalize
        self.register_buffer("mean", torch.zeros(in_channels, 1, 1))
        self.register_buffer("std", torch.ones(in_channels, 1, 1))
        pixel = torch.zeros(1, 1, 1, 1, dtype=torch.uint8)
        self.example_input_array = pixel.expand(1, in_channels, 28, 28)  # takes no memory

    def preprocess(self, images: Tensor) -> Tensor:
        """What the network is shown: brought to `image_size`, scaled, and normalised.

        Raises:
            LabError: images of another number of channels, or too large to be padded.
        """
        if not isinstance(images, Tensor):  # of somebody's own loader
            given = type(images).__name__
            raise LabError(f"batches must be pairs (images, labels); images is a {given}")
        self.check_channels(images)
        if images.is_floating_point():
            images = self.resized(images)
        else:
            images = self.fitted(images).to(self.mean.dtype).div_(255)
        if self.normalize == "none":
            return images
        return (images - self.mean).div_(self.std)

    def check_channels(self, images: Tensor) -> None:
        """Refuse images `(N, C, H, W)` of another number of channels."""
        if images.shape[1] != len(self.mean):  # else one would be spread over the others
            raise LabError(f"model.in_channels={len(self.mean)}: the images have {images.shape[1]}")

    def fitted(self, images: Tensor) -> Tensor:
        """Images `(N, C, H, W)` of bytes brought to `image_size`, in whole grey levels again.

        So they take a quarter of the memory of floats, for those who keep them.
        """
        if images.shape[-2:] == (self.image_size, self.image_size):
            return images
        return self.resized(images.to(self.mean.dtype)).round_().to(torch.uint8)

    def resized(self, images: Tensor) -> Tensor:
        """Images `(N, C, H, W)` of floats brought to `image_size`: linear, by rows and columns."""
        size = (self.image_size, self.image_size)
        if images.shape[-2:] == size:
            return images
        if self.resize == "bilinear":
            smaller = self.image_size < max(images.shape[-2:])  # else nothing is to be averaged
            return functional.interpolate(images, size, mode="bilinear", antialias=smaller)
        height, width = (self.image_size - s for s in images.shape[-2:])
        if height < 0 or width < 0:
            raise LabError(f"model.resize=pad: cannot shrink images to {size}")
        left, top = width // 2, height // 2
        return functional.pad(images, (left, width - left, top, height - top))

    def normalise_by(self, mean: Tensor, std: Tensor) -> None:
        """Take the training images' mean and deviation `(C,)`, of pixels from 0 to 1, as its own.

        Raises:
            LabError: a deviation of 0.
        """
        if bool((std == 0).any()):
            raise LabError("model.normalize=train: all training images are one flat colour")
        self.mean.copy_(mean.view(-1, 1, 1))
        self.std.copy_(std.view(-1, 1, 1))

    def on_train_start(self) -> None:
        """Refuse to train on images that should be normalised, by numbers that nobody gave."""
        untold = bool((self.mean == 0).all()) and bool((self.std == 1).all())
        if self.normalize == "train" and untold:
            raise LabError(
                "model.normalize=train: the training images' mean and deviation are not known: "
                "train with mnist_lab.training.train, or give the Trainer a callback HandOver()"
            )

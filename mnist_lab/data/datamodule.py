"""The LightningDataModule: split, statistics, loaders."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import lightning.pytorch as L
import torch
from annotated_types import Ge
from torch import Tensor

from mnist_lab.data.base import DataError, Source, Split
from mnist_lab.data.loader import TensorLoader
from mnist_lab.data.split import Division
from mnist_lab.data.typical import Typical
from mnist_lab.settings.ranges import Count, Ranged, Seed

log = logging.getLogger(__name__)
Transform = Callable[[Tensor], Tensor]


class DataModule(Ranged, L.LightningDataModule):
    """A source's images, split into train, validation and test, resident in memory.

    The source's test split stays the test split, and its validation split, if it has one, that of
    validation. Else this is cut from train by `split_seed`, stratified by label; it is the same for
    every model and every run's seed. With `folds` it is one of so many parts of train.

    Args:
        source: where images come from.
        root: folder of the files.
        mirror: a URL or folder tried before the source's own addresses.
        batch_size: images per training step, over all processes together.
        eval_batch_size: the same for validation and test; results don't depend on it.
        val_size: an int is a count, a float between 0 and 1 a fraction, 0 means no validation;
            None goes with `folds`, and with them alone.
        train_size: how much of what is left to train on, likewise; None means all of it.
        folds: into how many parts train is divided, stratified by label, for cross-validation.
        fold: which of them is validated on, from 0.
        repeat: other folds are drawn for each.
        augment: applied to each training batch on its device.
        device: where the images lie: `auto` is where the model is trained.
        seed: of the order of training batches.
    """

    def __init__(
        self,
        source: Source,
        root: str = "data",
        mirror: str | None = None,
        batch_size: Count = 64,
        eval_batch_size: Count = 500,
        val_size: int | float | None = 5000,
        train_size: int | float | None = None,
        split_seed: Seed = 0,
        folds: Annotated[int, Ge(2)] | None = None,
        fold: Annotated[int, Ge(0)] | None = None,
        repeat: Seed = 0,
        augment: Transform | None = None,
        device: str = "auto",
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        if device != "auto":
            try:
                torch.device(device)
            except RuntimeError:
                raise ValueError(f"device must be auto, cpu, cuda, ..., not {device}") from None
        self.source, self.root, self.mirror = source, Path(root).expanduser(), mirror
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.val_size, self.train_size, self.split_seed = val_size, train_size, split_seed
        self.folds, self.fold, self.repeat = folds, fold, repeat
        self._division = Division(val_size, train_size, split_seed, folds, fold, repeat)
        self.augment, self.device, self.seed = augment, device, seed
        self.seconds = 0.0
        """Spent until the tensors were ready."""
        self._tensors: dict[str, tuple[Tensor, Tensor]] = {}
        self._form: Transform | None = None
        self._as_floats = False
        self._formed: dict[str, Tensor] = {}
        self._typical: Typical | None = None
        self._prepared = False
        if "train" in source.sizes:
            self._division.counts(source.sizes["train"])

    @property
    def classes(self) -> list[str]:
        """The classes' names, in the order of their labels."""
        return self.source.classes

    @property
    def has_validation(self) -> bool:
        """Whether a part of train is kept for validation."""
        return self._division.has_validation

    def prepare_data(self) -> None:
        """Fetch and verify the files, once."""
        if not self._prepared:
            start = time.perf_counter()
            self.source.prepare(self.root, self.mirror)
            self._prepared = True
            self.seconds += time.perf_counter() - start

    def setup(self, stage: str) -> None:
        """Read and split what the stage needs; the test split only for `test`."""
        start = time.perf_counter()
        if stage in ("fit", "validate") and "train" not in self._tensors:
            images, labels = self._read("train")
            own = self.source.validation(self.root)
            if own is not None and (reason := self._division.reason):
                log.info("data.%s: the validation split of %s is not used", reason, self.root)
                own = None
            if own is not None:
                self._judge(*own)
            try:
                val, train = self._division.of(labels, own is not None)
            except ValueError as error:  # of a source whose size is known only now
                raise DataError(f"data.{error}") from None
            self._tensors["val"] = self._place(*(own or (images[val], labels[val])))
            self._tensors["train"] = self._place(images[train], labels[train])
        if stage == "test" and "test" not in self._tensors:
            self._tensors["test"] = self._place(*self._read("test"))
        self.seconds += time.perf_counter() - start

    def give_out(self, fitted: Transform | None, as_floats: bool = False) -> None:
        """Have loaders give out images in a model's form, made once instead of for every batch.

        Training images that are augmented on the way stay as they are.

        Args:
            fitted: from bytes to bytes; None leaves images as they are stored.
            as_floats: as values from 0 to 1, made of each batch on its way.
        """
        self._as_floats = as_floats
        if fitted != self._form:
            self._form, self._formed = fitted, {}

    def teardown(self, stage: str) -> None:
        """Images in the model's form are given back; made again, should they be asked for."""
        self._formed = {}

    def tensors(self, split: str) -> tuple[Tensor, Tensor]:
        """Images `(N, C, H, W)` uint8 and labels `(N,)` of `train`, `val` or `test`."""
        if split not in self._tensors:
            self.prepare_data()
            self.setup("test" if split == "test" else "fit")
        return self._tensors[split]

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation `(C,)` of the training split's pixels, scaled to 0..1."""
        images, _ = self.tensors("train")
        # Exact whatever the device or thread count: integer counts of the 256 values.
        counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in images.unbind(1)])
        values = torch.arange(256, device=counts.device, dtype=torch.float64) / 255
        weights = counts / counts.sum(1, keepdim=True)
        mean = (weights * values).sum(1)
        variance = (weights * (values - mean.unsqueeze(1)).square()).sum(1)
        return mean.float(), variance.sqrt().float()

    def typical(self) -> Typical:
        """What the images of the training split look like."""
        if self._typical is None:
            self._typical = Typical.of(*self.tensors("train"), len(self.classes))
        return self._typical

    def description(self) -> dict[str, Any]:
        """What identifies the dataset and its split, as plain values."""
        own = "root" not in self.source.incidental
        return {
            "name": self.source.name,
            "root": str(self.root.absolute()) if own else None,
            "classes": self.classes,
            **self._division.described(),
            "test_size": self.source.test_size,
            **({} if self.source.whole is None else {"whole": dict(self.source.whole)}),
        }

    def __str__(self) -> str:
        settings = {"batch_size": self.batch_size, **self._division.described()}
        del settings["split_seed"]
        told = ", ".join(f"{key}={value}" for key, value in settings.items())
        return f"{type(self).__name__}({self.source.name}, {told})"

    __repr__ = __str__

    def train_dataloader(self) -> TensorLoader:
        return self._loader("train", self.batch_size, shuffle=True)

    def val_dataloader(self) -> TensorLoader | list[Any]:
        return self._loader("val", self.eval_batch_size) if self.has_validation else []

    def test_dataloader(self) -> TensorLoader:
        return self._loader("test", self.eval_batch_size)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Nothing but a look, where the images lie on the device already."""
        if isinstance(batch, tuple) and batch[0].device == device:
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment, in training only; and scale, where that was asked for."""
        augment = self.augment if self.trainer is not None and self.trainer.training else None
        if augment is None and not self._as_floats:
            return batch
        images, labels = batch
        if augment is not None:
            images = augment(images)
        return images / 255 if self._as_floats else images, labels

    def _loader(self, split: str, batch_size: int, shuffle: bool = False) -> TensorLoader:
        rank, world_size = 0, 1
        if self.trainer is not None:
            rank, world_size = self.trainer.global_rank, self.trainer.world_size
        images, labels = self.tensors(split)
        if self._form is not None and not (split == "train" and self.augment is not None):
            if split not in self._formed:
                start = time.perf_counter()
                self._formed[split] = _in_parts(self._form, images)
                self.seconds += time.perf_counter() - start
            images = self._formed[split]
        return TensorLoader(
            images,
            labels,
            batch_size,
            shuffle=shuffle,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )

    def _read(self, split: Split) -> tuple[Tensor, Tensor]:
        images, labels = self.source.read(self.root, split)
        if len(images) != len(labels) or len(labels) == 0:
            raise DataError(
                f"{self.source.name}: {len(images)} images and {len(labels)} labels in {split}"
            )
        self._judge(images, labels)
        return images, labels

    def _judge(self, images: Any, labels: Any) -> None:
        """Refuse what a source of one's own may give instead of images and labels."""
        for name, value, kind, ndim, axes in (
            ("images", images, torch.uint8, 4, "(N, C, H, W)"),
            ("labels", labels, torch.int64, 1, "(N,)"),
        ):
            if not (isinstance(value, Tensor) and value.dtype == kind and value.ndim == ndim):
                shape = f"{list(value.shape)} of {value.dtype}" if hasattr(value, "shape") else ""
                raise DataError(
                    f"{self.source.name}: {name} must be a tensor {axes} of {kind}, "
                    f"not {shape or type(value).__name__}"
                )
        count = len(self.classes)
        if not 0 <= int(labels.min()) <= int(labels.max()) < count:
            raise DataError(
                f"{self.source.name}: labels from {int(labels.min())} to {int(labels.max())}; "
                f"those of {count} classes are 0 to {count - 1}"
            )

    def _place(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        device = torch.device("cpu" if self.device == "auto" else self.device)
        if self.device == "auto" and self.trainer is not None:
            device = self.trainer.strategy.root_device
        try:
            return images.to(device), labels.to(device)
        except (RuntimeError, AssertionError) as error:  # torch's, of a device that isn't there
            reason = str(error).splitlines()[0]
            raise DataError(f"data.device={self.device}: cannot be used: {reason}") from error


@torch.no_grad()
def _in_parts(form: Transform, images: Tensor) -> Tensor:
    """The images transformed, with little memory beside the outcome; themselves, if they fit."""
    sample = form(images[:1])
    if sample.shape == images[:1].shape:
        return images
    formed = sample.new_empty(len(images), *sample.shape[1:])
    for start in range(0, len(images), 1000):
        formed[start : start + 1000] = form(images[start : start + 1000])
    return formed

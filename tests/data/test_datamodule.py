"""Splits that are disjoint, stratified and the same for all runs; statistics; loaders."""

import gzip
import hashlib
import math
import struct

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from sklearn.datasets import load_digits

from mnist_lab.data import DataError, DataModule, Digits, IDXSource, RandomAffine, Source


class Given(Source):
    """The same tensors for either split, held in memory."""

    def __init__(self, images, labels):
        super().__init__("given", [str(i) for i in range(int(labels.max()) + 1)], {})
        self.images, self.labels = images, labels

    def prepare(self, root, mirror):
        pass

    def read(self, root, split):
        return self.images, self.labels


def numbered(labels):
    """Images that hold nothing but their own number."""
    labels = torch.as_tensor(labels)
    images = torch.arange(len(labels), dtype=torch.int32).view(torch.uint8).view(-1, 1, 2, 2)
    return Given(images, labels)


def numbers(images):
    return images.flatten().view(torch.int32).tolist()


@st.composite
def splits(draw):
    labels = draw(st.lists(st.integers(0, 4), min_size=3, max_size=80))
    fraction = st.floats(0.01, 0.9)
    val_size = draw(st.integers(0, len(labels) - 2) | fraction)
    val = round(val_size * len(labels)) if isinstance(val_size, float) else val_size
    rest = len(labels) - val
    assume(rest > 1 and (val or val_size == 0))
    train_size = draw(st.none() | st.integers(1, rest) | fraction)
    train = round(train_size * rest) if isinstance(train_size, float) else (train_size or rest)
    assume(train)
    return labels, val_size, val, train_size, train


def assert_stratified(part, whole, class_count=5):
    """Each class has its share, rounded either way."""
    shares = np.bincount(whole, minlength=class_count) * len(part) / len(whole)
    counts = np.bincount(part, minlength=class_count)
    assert (np.abs(counts - shares) < 1).all()


@given(splits(), st.integers(0, 2**32 - 1))
def test_split_is_disjoint_complete_and_stratified(case, split_seed):
    labels, val_size, val_count, train_size, train_count = case
    source = numbered(labels)
    data = DataModule(source, val_size=val_size, train_size=train_size, split_seed=split_seed)
    parts = {}
    for split, count in (("val", val_count), ("train", train_count)):
        images, targets = data.tensors(split)
        parts[split] = numbers(images)
        assert len(images) == len(targets) == count
        assert [labels[i] for i in parts[split]] == targets.tolist()
        assert parts[split] == sorted(set(parts[split]))
    rest = sorted(set(range(len(labels))) - set(parts["val"]))
    assert set(parts["train"]) <= set(rest)
    if train_size is None:
        assert parts["train"] == rest
    if val_count:
        assert_stratified([labels[i] for i in parts["val"]], labels)
    assert_stratified([labels[i] for i in parts["train"]], [labels[i] for i in rest])


def split_of(**kwargs):
    data = DataModule(numbered(torch.arange(200) % 7), **{"val_size": 50, **kwargs})
    return {split: numbers(data.tensors(split)[0]) for split in ("train", "val")}


def test_split_depends_on_split_seed_alone():
    split = split_of()
    assert split_of(seed=1, batch_size=7) == split
    assert split_of(split_seed=1)["val"] != split["val"]
    smaller = split_of(train_size=70)
    assert smaller["val"] == split["val"]
    assert set(smaller["train"]) < set(split["train"])
    assert split_of(train_size=70, seed=1) == smaller
    torch.manual_seed(5)
    np.random.seed(5)
    assert split_of() == split


def test_draw_leaves_no_position_out():
    # Were images taken in order within their class, some would never be drawn.
    drawn = {
        i for split_seed in range(30) for i in split_of(val_size=100, split_seed=split_seed)["val"]
    }
    assert drawn == set(range(200))


@pytest.mark.parametrize(("val_size", "count"), [(287, 287), (0.2, 287), (0, 0), (1436, 1436)])
def test_val_size_is_a_count_or_a_fraction(val_size, count):
    data = DataModule(Digits(), val_size=val_size)
    assert len(data.tensors("val")[1]) == count
    assert len(data.tensors("train")[1]) == 1437 - count
    assert data.has_validation == (count > 0)
    loader = data.val_dataloader()
    assert sum(len(labels) for _, labels in loader) == count
    assert (loader == []) == (count == 0)


@pytest.mark.parametrize(("train_size", "count"), [(None, 1237), (100, 100), (0.1, 124), (1, 1)])
def test_train_size_is_a_count_or_a_fraction_of_the_rest(digits, train_size, count):
    data = DataModule(Digits(), val_size=200, train_size=train_size)
    assert len(data.tensors("train")[1]) == count
    assert torch.equal(data.tensors("val")[0], digits.tensors("val")[0])


BAD = [
    *[("val_size", value) for value in (-1, 1437, 1438, 0.0, 1.0, 1.5, -0.5, 0.9999, math.nan)],
    *[("train_size", value) for value in (0, -1, 1238, 0.0, 1.0, 2.5, 1e-6, math.nan)],
    *[(name, value) for name in ("batch_size", "eval_batch_size") for value in (0, -1)],
    *[(name, value) for name in ("seed", "split_seed") for value in (-1, 2**32)],
    ("device", "nowhere"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_values_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"\b{name}\b.*{value}"):
        DataModule(Digits(), **{"val_size": 200, name: value})


def test_a_fraction_that_comes_to_no_image_is_refused():
    with pytest.raises(ValueError, match="val_size"):
        DataModule(Digits(), val_size=1e-6)


@pytest.mark.parametrize(("name", "value"), [("val_size", 3), ("train_size", 4)])
def test_sizes_are_checked_at_the_latest_against_the_images(name, value):
    data = DataModule(numbered([0, 1, 0]), **{"val_size": 0, name: value})
    with pytest.raises(DataError, match=f"data.{name}"):
        data.setup("fit")


def test_images_without_labels_are_refused():
    source = Given(torch.zeros(3, 1, 2, 2), torch.zeros(2).long())
    with pytest.raises(DataError, match="3 images and 2 labels in train"):
        DataModule(source, val_size=0).setup("fit")


# Statistics


@pytest.mark.parametrize("train_size", [None, 100])
def test_statistics_are_those_of_the_training_pixels(train_size):
    data = DataModule(Digits(), val_size=200, train_size=train_size)
    mean, std = data.statistics()
    pixels = data.tensors("train")[0].double() / 255
    assert mean.dtype == std.dtype == torch.float32
    torch.testing.assert_close(mean, pixels.mean().float().view(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(std, pixels.std(correction=0).float().view(1), rtol=1e-6, atol=0)


def test_statistics_are_per_channel_and_of_the_population():
    images = torch.tensor([[0, 255], [51, 51], [0, 102]], dtype=torch.uint8).view(1, 3, 1, 2)
    mean, std = DataModule(Given(images, torch.zeros(1).long()), val_size=0).statistics()
    torch.testing.assert_close(mean, torch.tensor([0.5, 0.2, 0.2]))
    torch.testing.assert_close(std, torch.tensor([0.5, 0.0, 0.2]))


# Loaders


def test_loaders_give_every_image_with_its_label(digits):
    digits.batch_size, digits.eval_batch_size = 100, 90
    for split, loader, sizes in [
        ("train", digits.train_dataloader(), [100] * 12 + [37]),
        ("val", digits.val_dataloader(), [90, 90, 20]),
        ("test", digits.test_dataloader(), [90] * 4),
    ]:
        batches = list(loader)
        assert [len(labels) for _, labels in batches] == sizes
        images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        whole_images, whole_labels = digits.tensors(split)
        if split == "train":
            # The order of the first epoch, by the same legacy generator.
            order = np.random.RandomState([digits.seed, 0]).permutation(len(labels))
            whole_images, whole_labels = whole_images[order], whole_labels[order]
        assert torch.equal(images, whole_images)
        assert torch.equal(labels, whole_labels)


def test_training_order_follows_seed():
    def order(seed):
        data = DataModule(numbered([0] * 50), val_size=0, seed=seed)
        return [n for images, _ in data.train_dataloader() for n in numbers(images)]

    assert order(3) == order(3)
    assert order(3) != order(4)


class Recorder(L.LightningModule):
    """Keeps the batches that it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {"train": [], "val": [], "test": []}

    def training_step(self, batch):
        self.seen["train"].append(batch)
        return self.weight * 0

    def validation_step(self, batch):
        self.seen["val"].append(batch)

    def test_step(self, batch):
        self.seen["test"].append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


def test_only_training_batches_are_augmented():
    data = DataModule(
        numbered([0, 1] * 10), val_size=4, batch_size=16, augment=torch.bitwise_not, device="cpu"
    )
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Recorder()
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    ((images, _),) = model.seen["train"]
    assert sorted(numbers(~images)) == numbers(data.tensors("train")[0])
    for split in ("val", "test"):
        ((images, _),) = model.seen[split]
        assert torch.equal(images, data.tensors(split)[0])


# The test split


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def archives(tmp_path):
    """A dataset of 30 + 10 images as archives in a folder, and its source."""
    sums = {}
    folder = tmp_path / "mirror"
    folder.mkdir()
    for prefix, count in (("train", 30), ("t10k", 10)):
        for name, array in (
            (f"{prefix}-images-idx3-ubyte.gz", np.full((count, 28, 28), 7, np.uint8)),
            (f"{prefix}-labels-idx1-ubyte.gz", (np.arange(count) % 10).astype(np.uint8)),
        ):
            content = gzip.compress(idx(array))
            (folder / name).write_bytes(content)
            sums[name] = hashlib.md5(content).hexdigest()
    source = IDXSource("tiny", list("0123456789"), {"train": 30, "test": 10}, [], sums)
    return source, str(folder)


def test_fit_does_not_read_the_test_split(archives, tmp_path):
    source, mirror = archives
    data = DataModule(source, root=str(tmp_path / "root"), mirror=mirror, val_size=10)
    data.prepare_data()
    for path in (tmp_path / "root").rglob("t10k*"):
        path.unlink()
    data.setup("fit")
    assert len(data.tensors("train")[1]) == 20
    assert len(data.tensors("val")[1]) == 10
    with pytest.raises(DataError, match="t10k"):
        data.tensors("test")


def test_test_does_not_read_the_training_split(archives, tmp_path):
    source, mirror = archives
    data = DataModule(source, root=str(tmp_path / "root"), mirror=mirror, val_size=10)
    data.prepare_data()
    for path in (tmp_path / "root").rglob("train*"):
        path.unlink()
    data.setup("test")
    assert torch.equal(data.tensors("test")[1], torch.arange(10))
    with pytest.raises(DataError, match="train"):
        data.tensors("train")


def test_tensors_fetch_what_is_not_there(archives, tmp_path):
    source, mirror = archives
    data = DataModule(source, root=str(tmp_path / "root"), mirror=mirror, val_size=10)
    assert torch.equal(data.tensors("test")[0], torch.full((10, 1, 28, 28), 7, dtype=torch.uint8))


def test_digits_test_split_stays_whole(digits):
    target = load_digits(return_X_y=True)[1]
    parts = [digits.tensors(split)[1] for split in ("train", "val", "test")]
    assert [len(labels) for labels in parts] == [1237, 200, 360]
    np.testing.assert_array_equal(torch.cat(parts).bincount(), np.bincount(target))
    assert_stratified(parts[1], torch.cat(parts[:2]), class_count=10)


# MNIST


@pytest.fixture(scope="module")
def mnist(mnist_root, request):
    config = OmegaConf.load(request.config.rootpath / "conf/data/mnist.yaml")
    source = instantiate(config.source, _convert_="all")
    return lambda **kwargs: DataModule(source, root=str(mnist_root), **kwargs)


@pytest.mark.mnist
def test_mnist_statistics_are_the_published_ones(mnist):
    mean, std = mnist(val_size=0).statistics()
    assert mean.item() == pytest.approx(0.1307, abs=5e-5)
    assert std.item() == pytest.approx(0.3081, abs=5e-5)


@pytest.mark.mnist
def test_mnist_split_is_the_same_for_ever(mnist):
    data = mnist()
    images, labels = data.source.read(data.root, "train")
    order = {image.numpy().tobytes(): i for i, image in enumerate(images)}
    indices = {
        split: torch.tensor([order[image.numpy().tobytes()] for image in data.tensors(split)[0]])
        for split in ("val", "train")
    }
    assert len(order) == 60000  # no image twice: an image tells its index
    assert torch.equal(torch.cat(list(indices.values())).sort().values, torch.arange(60000))
    for split, chosen in indices.items():
        assert torch.equal(data.tensors(split)[1], labels[chosen])
    assert_stratified(data.tensors("val")[1], labels, class_count=10)
    digest = hashlib.sha256(indices["val"].numpy().astype("<i8").tobytes()).hexdigest()
    assert digest == "08fcbe0571f9bf515f5eb8fcdbc3ead8ec8fd927200bfd1d97fee0c3f12c64c0"


@pytest.mark.mnist
def test_mnist_test_split_is_the_official_one(mnist):
    images, labels = mnist().tensors("test")
    assert images.shape == (10000, 1, 28, 28)
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert labels.bincount().tolist() == counts
    # The first test images are famously these.
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_images_are_given_out_in_the_models_form(digits):
    def double(images):
        return images.repeat_interleave(2, -1).repeat_interleave(2, -2).to(torch.int16)

    digits.give_out(double)
    loader = digits.train_dataloader()
    assert torch.equal(loader.images, double(digits.tensors("train")[0]))
    assert digits.train_dataloader().images is loader.images  # made once
    digits.augment = RandomAffine(shift=2)  # which takes images as they are stored
    assert digits.train_dataloader().images.shape[-1] == 28
    assert digits.val_dataloader().images.shape[-1] == 56
    digits.give_out(lambda images: images)
    assert digits.val_dataloader().images is digits.tensors("val")[0]

"""Splits that are disjoint, stratified and the same for all runs."""

import hashlib
import math

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from sklearn.datasets import load_digits

from mnist_lab.data import DataError, DataModule, Digits
from tests.data.numbered import assert_stratified, numbered, numbers


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


def test_digits_test_split_stays_whole(digits):
    target = load_digits(return_X_y=True)[1]
    parts = [digits.tensors(split)[1] for split in ("train", "val", "test")]
    assert [len(labels) for labels in parts] == [1237, 200, 360]
    np.testing.assert_array_equal(torch.cat(parts).bincount(), np.bincount(target))
    assert_stratified(parts[1], torch.cat(parts[:2]), class_count=10)


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

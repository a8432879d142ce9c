"""Folds: stratified, disjoint, the same for all runs, and what contradicts them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from mnist_lab.data import DataError, DataModule, Digits
from mnist_lab.settings.conf import make
from tests.data.numbered import Given, numbered, numbers

LABELS = torch.arange(203) ** 2 % 7 % 5  # classes of 29 or 58 images, and none of 3


def fold_of(fold, folds=5, labels=LABELS, **others):
    """Numbers of the images that are validated on, and of those that are trained on."""
    data = DataModule(numbered(labels), val_size=None, folds=folds, fold=fold, **others)
    return [numbers(data.tensors(split)[0]) for split in ("val", "train")]


@pytest.mark.filterwarnings("ignore:The least populated class")
@settings(deadline=None)  # of as many datasets as there are folds
@given(st.lists(st.integers(0, 4), min_size=2, max_size=80), st.data(), st.integers(0, 2**32 - 1))
def test_folds_are_what_scikit_learns_are(labels, data, split_seed):
    """Each image is in one fold; the counts of a class, and of all, differ by one at most."""
    folds = data.draw(st.integers(2, min(len(labels), 12)))
    parts = [fold_of(k, folds, labels, split_seed=split_seed) for k in range(folds)]
    assert sorted(i for val, _ in parts for i in val) == list(range(len(labels)))
    for val, train in parts:
        assert val == sorted(val)
        assert train == sorted(set(range(len(labels))) - set(val))
    by_class = np.array([np.bincount([labels[i] for i in val], minlength=5) for val, _ in parts])
    assert np.ptp(by_class, axis=0).max() <= 1
    assert np.ptp(by_class.sum(1)) <= 1
    if folds <= np.bincount(labels).max():  # else it refuses
        theirs = StratifiedKFold(folds).split(labels, labels)
        counts = [np.bincount(np.array(labels)[val], minlength=5) for _, val in theirs]
        assert (np.sort(by_class, axis=0) == np.sort(counts, axis=0)).all()


def test_folds_depend_on_split_seed_and_repeat_alone():
    first = fold_of(1)
    assert fold_of(1, seed=3, batch_size=7) == first
    torch.manual_seed(5)
    np.random.seed(5)
    assert fold_of(1) == first
    others = [fold_of(1, repeat=1), fold_of(1, split_seed=1), fold_of(1, split_seed=1, repeat=1)]
    held_out = [set(val) for val, _ in (first, *others)]
    for place, val in enumerate(held_out):
        for other in held_out[:place]:
            assert 0 < len(val & other) < 20  # of 41, where chance gives 8


def test_of_a_fold_a_part_can_be_trained_on():
    val, train = fold_of(2)
    smaller = fold_of(2, train_size=50)
    assert smaller[0] == val
    assert set(smaller[1]) < set(train)
    assert len(smaller[1]) == 50


def test_test_images_stay_out_of_it(digits):
    parts = [DataModule(Digits(), val_size=None, folds=5, fold=k) for k in range(5)]
    for data in parts:
        assert torch.equal(data.tensors("test")[0], digits.tensors("test")[0])
        assert data.has_validation
        assert sum(len(data.tensors(split)[1]) for split in ("train", "val")) == 1437


def test_a_dataset_with_a_validation_split_is_divided_all_the_same(caplog):
    class Own(Given):
        def validation(self, root):
            return self.read(root, "val")

    source = numbered(torch.arange(20) % 2)
    caplog.set_level("INFO")
    data = DataModule(Own(source.images, source.labels), val_size=None, folds=4, fold=3)
    assert len(data.tensors("val")[1]) == 5
    assert caplog.messages == ["data.folds=4: the validation split of data is not used"]


@pytest.mark.parametrize(
    ("given_settings", "told"),
    [
        ({"folds": 5, "fold": 5}, "fold=5: folds=5 are fold=0 to fold=4"),
        ({"folds": 5}, "fold=None: folds=5 are fold=0 to fold=4"),
        ({"folds": 5, "fold": 0, "val_size": 200}, "val_size=200: contradicts folds=5"),
        ({"folds": 5, "fold": 0, "val_size": 0}, "val_size=0: contradicts folds=5"),
        ({"fold": 0, "val_size": 200}, "fold=0: of how many?"),
        ({"repeat": 1, "val_size": 200}, "repeat=1: draws other folds, and there are none"),
        ({}, "val_size=None: needs folds"),
        ({"folds": 1, "fold": 0}, "folds=1: should be greater than or equal to 2"),
        ({"folds": 2, "fold": -1}, "fold=-1: should be greater than or equal to 0"),
        ({"folds": 1438, "fold": 0}, "folds=1438: there are 1437 images"),
    ],
)
def test_contradictions_are_refused(given_settings, told):
    with pytest.raises(ValueError, match=f"^{told.replace('?', '[?]')}"):
        DataModule(Digits(), **{"val_size": None, **given_settings})


def test_more_folds_than_images_are_refused_at_the_latest_when_these_are_read():
    with pytest.raises(DataError, match=r"^data.folds=4: there are 3 images"):
        fold_of(0, 4, [0, 1, 0])


def test_what_a_file_says_of_validation_gives_way_to_folds():
    data = make("data/digits", folds=5, fold=1)
    assert (data.val_size, data.folds, data.fold) == (None, 5, 1)
    assert data.description()["folds"] == 5
    with pytest.raises(ValueError, match="val_size=100: contradicts folds=5"):
        make("data/digits", folds=5, fold=1, val_size=100)

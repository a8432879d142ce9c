"""Which settings make two runs the same, and runs that earlier versions stored."""

import copy
from pathlib import Path

import pytest
import yaml

from mnist_lab import data
from mnist_lab.settings.former import present
from mnist_lab.settings.identity import fingerprint
from tests.settings.composing import composed

# Configurations as earlier versions stored them, by a name and the hash that was stored with them.
STORED = sorted(Path(__file__).with_name("stored").glob("*.yaml"))


def read(path):
    content = yaml.safe_load(path.read_text())
    content.pop("defaults", None)
    return content


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_run_is_known_by_its_hash_in_todays_form(path):
    today = present(read(path))
    assert fingerprint(today) == path.stem.rpartition("-")[2]
    assert present(today) == today
    assert "augment" not in today["data"]
    assert not {"optimizer", "scheduler"} & today["model"].keys()
    assert "mnist_lab.callbacks" not in yaml.safe_dump(today)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("first-lenet", ["data=digits", "model=lenet"]),
        ("sweep-mlp", ["data=digits", "model=mlp", "seed=1"]),
        ("mnist-lenet", ["model=lenet", "data.train_size=5000"]),
        ("search-shift", ["data=digits", "model=mlp", "augment=shift", "data.batch_size=128",
                          "optimizer=sgd", "optimizer.lr=0.00643"]),
    ],
)  # fmt: skip
def test_the_same_command_has_the_same_hash_today(name, overrides, tmp_path):
    (path,) = (path for path in STORED if path.name.startswith(name))
    today = composed(tmp_path, "trainer.max_epochs=2", *overrides)
    assert fingerprint(today) == path.stem.rpartition("-")[2]


def test_what_a_model_was_given_instead_of_the_roots_stays_its_own():
    stored = read(STORED[0])
    stored["model"]["optimizer"] = {**stored["optimizer"], "lr": 0.5}
    today = present(stored)
    assert today["model"]["optimizer"]["lr"] == 0.5
    assert fingerprint(today) != fingerprint(present(read(STORED[0])))


def test_fingerprint_is_of_what_determines_the_result(tmp_path):
    def hash_of(*overrides):
        return fingerprint(composed(tmp_path, *overrides))

    plain = hash_of()
    for same in ("data.root=/x", "data.mirror=/x", "data.device=cpu", "trainer.accelerator=cpu"):
        assert hash_of(same) == plain, same
    first, other = (hash_of("distil=teachers", f"distil.teachers=[{run}]") for run in "ab")
    assert len({plain, first, other}) == 3
    attacks = [hash_of(*typed) for typed in (["attack=fgsm"], ["attack=pgd"],
               ["attack=fgsm", "attack.eps=0.1"])]  # fmt: skip
    assert len({plain, *attacks}) == 4
    for other in ("seed=1", "optimizer.lr=0.1", "trainer.max_epochs=3", "data.val_size=100"):
        assert hash_of(other) != plain, other
    folds = [hash_of("data.folds=5", f"data.fold={fold}", f"data.repeat={repeat}")
             for fold, repeat in ((0, 0), (1, 0), (0, 1))]  # fmt: skip
    assert len({plain, *folds}) == 4


def test_a_dataset_is_identified_by_what_its_source_says(tmp_path):
    """Another address of the same files is the same dataset; a folder of unknown files isn't."""
    plain = composed(tmp_path)
    elsewhere = copy.deepcopy(plain)
    elsewhere["data"]["source"]["urls"] = ["https://example.org/mnist"]
    assert fingerprint(elsewhere) == fingerprint(plain)
    other = copy.deepcopy(plain)
    other["data"]["source"]["md5"]["train-images-idx3-ubyte.gz"] = "0" * 32
    assert fingerprint(other) != fingerprint(plain)

    class Pictures(data.Digits):
        incidental = ("quality",)

    theirs = copy.deepcopy(plain)
    theirs["data"]["source"] = {"_target_": "theirs.Pictures", "quality": 3, "kind": "x"}
    prints = set()
    for key, value in (("root", "a"), ("root", "b"), ("quality", 4), ("kind", "y")):
        changed = copy.deepcopy(theirs)
        (changed["data"] if key == "root" else changed["data"]["source"])[key] = value
        prints.add(fingerprint(changed, Pictures.incidental))
    assert len(prints) == 4  # three of them with the folder of `theirs`, where quality is no matter
    assert fingerprint(theirs, Pictures.incidental) in prints
    assert fingerprint(theirs) not in prints  # its source was not asked: all of it counts


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [("val/loss", "min"), ("val/accuracy", "max"), ("val/f1", "max"), ("val/recall", "max")],
)
def test_the_mode_follows_from_what_is_monitored(monitor, mode, tmp_path):
    plain = composed(tmp_path, f"monitor={monitor}")
    callbacks = plain["trainer"]["callbacks"]
    told = [plain["mode"], callbacks["best"]["mode"], callbacks["early_stopping"]["mode"]]
    assert told == [mode] * 3
    explicit = composed(tmp_path, f"monitor={monitor}", f"mode={mode}")
    assert fingerprint(explicit) == fingerprint(plain)


def test_digits_in_folders_are_the_runs_that_knew_of_no_other_form():
    source = {"_target_": "mnist_lab.data.FolderSource", "name": "folder", "test_size": 0.1}
    plain = {"data": {"root": "x", "source": source}}
    today = {
        "data": {"root": "x", "source": source | {"form": "digit", "size": None, "grey": False}}
    }
    whole = {"data": {"root": "x", "source": source | {"form": "plain", "size": 8, "grey": False}}}
    assert fingerprint(today) == fingerprint(plain) != fingerprint(whole)

"""What may be changed of a run that is continued."""

import sys
from pathlib import Path

import pytest
import yaml

from mnist_lab import LabError
from mnist_lab.models.schedules import bound_to_length
from mnist_lab.runs.folder import continued
from mnist_lab.settings.signatures import ConfigError


@bound_to_length
def sawtooth(optimizer, total_steps):
    """A schedule of one's own that is laid out for the whole run."""


def stored(folder: Path, scheduler: str, **settings) -> Path:
    content = {
        "data": {"_target_": "mnist_lab.data.DataModule"},
        "model": {"_target_": "mnist_lab.models.MLP"},
        "scheduler": {"_target_": scheduler, "_partial_": True},
        "trainer": {"_target_": "lightning.pytorch.Trainer", "max_epochs": 4},
        **settings,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize("name", ["constant", "step"])
def test_epochs_may_grow(name, tmp_path):
    folder = stored(tmp_path, f"mnist_lab.models.schedules.{name}")
    assert continued(folder, {"trainer.max_epochs": 9}, [])["trainer"]["max_epochs"] == 9
    for fewer in (3, None, "x"):
        with pytest.raises(LabError, match="can only grow, from 4"):
            continued(folder, {"trainer.max_epochs": fewer}, [])


@pytest.mark.parametrize(
    "schedule",
    ["mnist_lab.models.schedules.onecycle", "mnist_lab.models.schedules.cosine",
     f"{__name__}.sawtooth"],
)  # fmt: skip
def test_a_schedule_says_that_it_was_laid_out_for_a_length(schedule, tmp_path):
    folder = stored(tmp_path, schedule)
    trust = [__name__.rpartition(".")[0]]
    assert continued(folder, {"data.root": "there"}, trust)["data"]["root"] == "there"
    with pytest.raises(LabError, match=f"max_epochs=9: {schedule} was laid out for 4 epochs"):
        continued(folder, {"trainer.max_epochs": 9}, trust)


def test_what_stands_twice_is_changed_twice(tmp_path):
    trainer = {"precision": {"accelerator": "cpu"}, "callbacks": {"last": {"every_n_steps": None}}}
    folder = stored(tmp_path, "mnist_lab.models.schedules.constant", trainer=trainer)
    plain = continued(folder, {"trainer.accelerator": "gpu", "checkpoint_every_n_steps": 7}, [])
    assert plain["checkpoint_every_n_steps"] == 7
    assert plain["trainer"] == {
        "accelerator": "gpu",
        "precision": {"accelerator": "gpu"},
        "callbacks": {"last": {"every_n_steps": 7}},
    }
    bare = {"precision": "32-true", "callbacks": []}
    stored(tmp_path, "mnist_lab.models.schedules.constant", trainer=bare)
    plain = continued(folder, {"trainer.accelerator": "gpu", "checkpoint_every_n_steps": 7}, [])
    assert plain["trainer"] == {**bare, "accelerator": "gpu"}


def test_nothing_of_a_folder_is_imported_before_somebody_vouches_for_it(tmp_path):
    folder = stored(tmp_path, "this.is_imported")
    with pytest.raises(ConfigError, match="is not of"):
        continued(folder, {"trainer.max_epochs": 9}, [])
    assert "this" not in sys.modules


def test_what_must_not_change_is_refused_by_name(tmp_path):
    folder = stored(tmp_path, "mnist_lab.models.schedules.constant")
    with pytest.raises(LabError, match="seed: cannot be set beside resume"):
        continued(folder, {"seed": 3}, [])

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import PassThroughProfiler, SimpleProfiler

from mnist_lab.models import MLP, LeNet
from mnist_lab.training import run
from mnist_lab.training.handover import HandOver
from mnist_lab.training.overhead import NoProfiler, lean
from mnist_lab.training.trainer import default_trainer

ACTION = "run_training_batch"


class Counting(Callback):
    """One hook of a step, and one that is not of a step."""

    def __init__(self) -> None:
        self.steps = self.epochs = 0

    def on_train_batch_end(self, *args) -> None:
        self.steps += 1

    def on_train_epoch_start(self, *args) -> None:
        self.epochs += 1


def fitted(digits, folder, make_lean: bool, compiled: bool = False, **settings):
    torch.manual_seed(0)
    model, counting = MLP(hidden=[4], compile=compiled), Counting()
    trainer = L.Trainer(
        max_epochs=2,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[counting, Callback(), HandOver()],
        **settings,
    )
    if make_lean:
        lean(trainer)
    trainer.fit(model, datamodule=digits)
    return model, counting, trainer


def test_training_is_the_same(digits, tmp_path):
    plain, _, _ = fitted(digits, tmp_path, make_lean=False)
    model, counting, trainer = fitted(digits, tmp_path, make_lean=True)
    for name, weight in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name
    assert (counting.steps, counting.epochs) == (40, 2)  # 1,237 images in batches of 64, twice
    assert isinstance(trainer.profiler, NoProfiler)


class Timing(PassThroughProfiler):
    """Somebody's profiler that has taken the short way of a base."""

    steps = 0

    def profile(self, action_name):
        self.steps += action_name == ACTION
        return super().profile(action_name)


@pytest.mark.parametrize("kind", [Timing, SimpleProfiler])
def test_a_profiler_that_was_asked_for_still_profiles(kind, digits, tmp_path):
    profiler = kind()
    fitted(digits, tmp_path, make_lean=True, profiler=profiler)
    steps = getattr(profiler, "steps", None) or len(profiler.recorded_durations[ACTION])
    assert steps == 40


@pytest.mark.slow
def test_a_compiled_network_trains_alike_and_its_weights_keep_their_names(digits, tmp_path):
    models = {
        compiled: fitted(digits, tmp_path, make_lean=False, compiled=compiled)[0]
        for compiled in (False, True)
    }
    torch.testing.assert_close(models[True].state_dict(), models[False].state_dict())
    assert "compile" not in models[True].hparams


@pytest.mark.slow
def test_a_compiled_run_ends_with_its_embedding_and_feature_maps(digits, tmp_path):
    trainer = default_trainer(tmp_path, max_epochs=1, accelerator="cpu")
    result = run.train(digits, LeNet(compile=True), trainer)
    assert result.status == "completed"
    (vectors,) = tmp_path.rglob("embedding.tsv")
    assert len(vectors.read_text().splitlines()[0].split("\t")) == 84
    assert (tmp_path / "figures/feature_maps_3.png").exists()

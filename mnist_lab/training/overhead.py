"""Takes out of the Trainer's work for every step what is done for nobody."""

import inspect
import os
from contextlib import AbstractContextManager, nullcontext

import lightning.pytorch as L
import torch.utils.deterministic
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import PassThroughProfiler

_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
_NOTHING = nullcontext()


class NoProfiler(PassThroughProfiler):
    """Measures nothing and costs nothing; Lightning's own makes a context for every hook."""

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]  # a generator's there
        return _NOTHING


def lean(trainer: L.Trainer, model: L.LightningModule) -> None:
    """Have the Trainer skip, at every step, hooks that do nothing and a profiler that isn't used.

    It names, times and calls each hook of each callback and of the model, even those that are
    as inherited; what isn't callable it leaves out. With the seven callbacks of
    `conf/trainer/default.yaml` that is half of what it adds to a step. A hook that somebody gave
    an instance of its own (as `LambdaCallback` does), or put in Lightning's place, is called.
    """
    if type(trainer.profiler) is PassThroughProfiler:  # type: ignore[attr-defined]  # set by the Trainer
        trainer.profiler = NoProfiler()  # type: ignore[attr-defined]  # likewise
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # likewise
    if trainer.strategy.root_device.type == "cpu":
        # Set by Lightning; with it torch's optimizers load NVIDIA's library anew for every step.
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    # Deterministic algorithms fill all new memory, for who reads what nobody has written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property of the module
    step = type(model).training_step  # whose parameters the Trainer looks up at every step
    step.__signature__ = inspect.signature(step)  # type: ignore[attr-defined]  # as `inspect` looks for it
    for owner, base in [(model, L.LightningModule), *((c, Callback) for c in callbacks)]:
        for name in _HOOKS:
            called = getattr(getattr(owner, name), "__func__", None)  # None: the instance's own
            if called is getattr(base, name) and called.__module__.startswith("lightning."):
                setattr(owner, name, None)

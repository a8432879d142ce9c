"""What Lightning and torch do at every step for nobody, left out for the process that trains.

Each has its figure in docs/log.md: what an epoch of a small MLP takes without it.
"""

import os
from contextlib import nullcontext
from typing import Any

import lightning.pytorch as L
import torch.utils.deterministic
from lightning.pytorch.profilers import PassThroughProfiler

from mnist_lab.training.attributes import attributes

_NOTHING = nullcontext()


class NoProfiler(PassThroughProfiler):
    """Measures nothing and costs nothing; Lightning's own makes a context for every hook."""

    def profile(self, action_name: str) -> Any:
        return _NOTHING  # a context, as Lightning's generator becomes one


def lean(trainer: L.Trainer) -> None:
    """Take these out; a profiler that was asked for stays."""
    if type(attributes(trainer).profiler) is PassThroughProfiler:
        attributes(trainer).profiler = NoProfiler()
    if trainer.strategy.root_device.type == "cpu":
        # Set by Lightning; with it torch's optimizers load NVIDIA's library anew for every step.
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    # Deterministic algorithms fill all new memory, for who reads what nobody has written.
    # A property of the module's own class, which type checkers don't see.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010

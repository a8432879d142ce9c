"""What tests share that try whatever bytes come.

MNIST_LAB_FUZZ=100000 tries that many examples of each kind.
"""

import contextlib
import inspect
import os
import time

import lightning.pytorch
import pytest
import torch
import torchmetrics
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import mnist_lab.data
from mnist_lab import LabError, models
from mnist_lab.models import schedules
from mnist_lab.runs import trust
from mnist_lab.settings import signatures
from mnist_lab.training import best, continuation, run, stopping, trainer

EXAMPLES = int(os.environ.get("MNIST_LAB_FUZZ", "200"))
SECONDS = 10  # of computing: more is a hang
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def ends_well(action, *arguments) -> None:
    start = time.process_time()
    with contextlib.suppress(LabError):
        action(*arguments)
    assert time.process_time() - start < SECONDS


@st.composite
def mutated(draw, data: bytes) -> bytes:
    """The data with bytes changed, added, removed and repeated in some places."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(changed)))
        end = place + draw(st.integers(0, 8))
        kind = draw(st.sampled_from(["change", "flip", "add", "remove", "repeat", "cut"]))
        if kind == "change":
            changed[place:end] = draw(st.binary(min_size=end - place, max_size=end - place))
        elif kind == "flip" and place < len(changed):
            changed[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "add":
            changed[place:place] = draw(st.binary(max_size=8))
        elif kind == "remove":
            del changed[place:end]
        elif kind == "repeat":
            changed[place:place] = changed[place:end] * draw(st.integers(1, 4))
        elif kind == "cut" and draw(st.integers(0, 9)) == 0:
            del changed[place:]
    return bytes(changed)


MODULES = [
    torch, torch._C, torch.nn, torch.optim, torch.optim.lr_scheduler, torch.utils.data,
    torch.distributions, torch.cuda, torch.jit, torch.storage, torchmetrics,
    torchmetrics.classification, lightning.pytorch, lightning.pytorch.callbacks,
    lightning.pytorch.loggers, lightning.pytorch.strategies, lightning.pytorch.profilers,
    mnist_lab.data, models, continuation, stopping, best, trainer, schedules, mnist_lab,
    signatures, trust, run,
]  # fmt: skip
CLASSES = sorted(
    f"{module.__name__}.{name}"
    for module in MODULES
    for name, value in vars(module).items()
    if inspect.isclass(value)
)
ODD_TARGETS = [
    "os.system", "builtins.eval", "torch", "torch.", ".", "", "torch.nn", "torch.os.system",
    "mnist_lab.training.trainer.as_list", "mnist_lab.training.trainer.precision",
    "mnist_lab.train.main",
    "torch.nn.Linear.forward", "torch.float32", "mnist_lab.models.schedules.cosine",
]  # fmt: skip
ODD_TEXTS = ["${folder}", "${oc.env:HOME}", "${", "\0", "a\nb", "\ud800", "~", "=", "1e3"]
KEYS = ["_target_", "_partial_", "_args_", "_convert_", "_recursive_", "lr", "params", "callbacks"]

TARGETS = st.sampled_from(CLASSES) | st.sampled_from(ODD_TARGETS) | st.text(max_size=20)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
    | st.sampled_from(ODD_TEXTS) | st.just(10**400) | st.binary(max_size=5) | st.dates()
)  # fmt: skip
ANY_KEYS = st.text(max_size=5) | st.sampled_from(KEYS) | LEAVES.filter(lambda x: x == x)


def nested(inner):
    return (
        st.lists(inner, max_size=4)
        | st.dictionaries(ANY_KEYS, inner, max_size=4)
        | st.builds(
            lambda target, more: {**more, "_target_": target},
            TARGETS,
            st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
        )
    )


# Anything that YAML can say, with a preference for what builds something.
VALUES = st.recursive(LEAVES, nested, max_leaves=6)

MARKS = [
    pytest.mark.timeout(300 + EXAMPLES),
    pytest.mark.filterwarnings("ignore"),  # torch's, of what it is made to read
    pytest.mark.usefixtures("little_memory"),
]

"""What networks are put together from."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

Activation = Literal["relu", "tanh", "sigmoid", "gelu", "silu", "leaky_relu"]

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
}

Norm = Literal["after", "before", "none"]
"""Where batch normalisation stands: after the activation, before it, or nowhere."""


def normalised(
    layer: nn.Module, activation: Activation, norm: Norm, batch_norm: nn.Module
) -> list[nn.Module]:
    """A layer with its activation and, where there is any, batch normalisation."""
    parts = [layer, ACTIVATIONS[activation]()]
    if norm != "none":
        parts.insert({"before": 1, "after": 2}[norm], batch_norm)
    return parts


def max_pooled(layers: Sequence[nn.Module], size: int) -> list[nn.Module]:
    """The layers and what pools their outputs.

    It stands before a ReLU at their end. Bitwise the same comes out, as gradients, too: the largest
    value stays the largest, and where none is positive nothing is passed on either way. ReLU then
    has `size`² times less to do, which makes a step of `kaggle_cnn` a seventh shorter.
    """
    pool = nn.MaxPool2d(size)
    *others, last = layers
    return [*others, pool, last] if isinstance(last, nn.ReLU) else [*layers, pool]


def dense(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    activation: Activation,
    norm: Norm = "none",
    dropout: float = 0.0,
) -> list[nn.Module]:
    """Fully connected layers down to the logits, hidden ones with what belongs to them."""
    layers: list[nn.Module] = []
    for units in hidden:
        layers += normalised(nn.Linear(inputs, units), activation, norm, nn.BatchNorm1d(units))
        layers += [nn.Dropout(dropout)] if dropout else []
        inputs = units
    return [*layers, nn.Linear(inputs, outputs)]

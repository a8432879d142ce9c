"""Inside a network: what its layers hold, and what they make of an image."""

import contextlib
from typing import Any

import torch
from torch import Tensor, nn

from mnist_lab.models import Classifier


def feature_maps(model: Classifier, image: Tensor) -> dict[str, Tensor]:
    """The outputs `(C, H, W)` of every convolution for one image, in the order of their use.

    Args:
        image: `(C, H, W)`, uint8, or floats from 0 to 1.

    Returns:
        On the CPU, by the layer's name in `model.network`; a layer used again counts as
        `NAME (2)`.
    """
    maps: dict[str, Tensor] = {}
    calls: dict[str, int] = {}

    def keep(layer: nn.Module, _: Any, output: Tensor) -> None:
        name = names[layer]
        calls[name] = calls.get(name, 0) + 1
        key = name if calls[name] == 1 else f"{name} ({calls[name]})"
        maps[key] = output[0].detach().float().cpu()

    names: dict[nn.Module, str] = {
        m: name for name, m in model.network.named_modules() if isinstance(m, nn.Conv2d)
    }
    with contextlib.ExitStack() as stack:
        for layer in names:
            stack.enter_context(layer.register_forward_hook(keep))
        outputs(model, image)
    return maps


def embedding(model: Classifier, images: Tensor) -> Tensor:
    """What the last layer is given for images `(N, C, H, W)`: `(N, D)`, on the CPU.

    The last layer is the fully connected one or convolution that is used last; without any, it is
    the images. Images that lie close together here are alike to the network, which tells classes
    apart by a plane each.
    """
    vectors: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs[0]) == len(vectors[-1]):  # not words of a sequence, or parts of an image
            vectors[-1] = inputs[0].flatten(1).float().cpu()  # of the layers so far

    layers = [m for m in model.network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(layer.register_forward_pre_hook(keep))
        stack.enter_context(model.judging())
        for batch in torch.split(images, 250):
            vectors.append(batch.flatten(1).float().cpu())
            model(batch.to(model.device))
    return torch.cat(vectors)


def outputs(model: Classifier, image: Tensor) -> Tensor:
    """The probabilities `(K,)` of the classes of one image `(C, H, W)`, on the CPU."""
    with model.judging():
        logits: Tensor = model(image.unsqueeze(0).to(model.device))
    return logits[0].float().softmax(0).cpu()


def filters(model: Classifier) -> Tensor | None:
    """The first layer's weights as filters `(O, C, H, W)` on the CPU: those of a convolution, or
    of a fully connected layer over all pixels; None if it is neither."""
    channels, size = model.hparams["in_channels"], model.image_size
    for layer in model.network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weights = layer.weight.detach().float().cpu()
            if isinstance(layer, nn.Linear):
                fits = weights.shape[1] == channels * size**2
                weights = weights.view(-1, channels, size, size) if fits else weights
            return weights if weights.ndim == 4 and weights.shape[1] == channels else None
    return None

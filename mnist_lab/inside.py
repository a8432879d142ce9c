"""Inside a network: what its layers hold, and what they make of an image."""

import torch
from torch import Tensor, nn

from mnist_lab.models import Classifier

_AT_ONCE = 500  # images


def feature_maps(model: Classifier, image: Tensor) -> dict[str, Tensor]:
    """The outputs `(C, H, W)` of every convolution for one image, in the order of their use.

    Args:
        image: `(C, H, W)`, uint8, or floats from 0 to 1.

    Returns:
        On the CPU, by the layer's name in `model.network`; a layer used again counts as
        `NAME (2)`.
    """
    found: dict[str, Tensor] = {}
    calls: dict[str, int] = {}

    def keep(name: str, output: Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        key = name if calls[name] == 1 else f"{name} ({calls[name]})"
        found[key] = output[0].detach().float().cpu()

    layers = {k: m for k, m in model.network.named_modules() if isinstance(m, nn.Conv2d)}
    hooks = [
        layer.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
        for name, layer in layers.items()
    ]
    try:
        outputs(model, image)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def outputs(model: Classifier, image: Tensor) -> Tensor:
    """The probabilities `(K,)` of the classes of one image `(C, H, W)`, on the CPU."""
    training = model.training
    try:
        with torch.no_grad():
            logits: Tensor = model.eval()(image.unsqueeze(0).to(model.device))
    finally:
        model.train(training)
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


def embedding(model: Classifier, images: Tensor) -> tuple[Tensor, Tensor] | None:
    """What the last layer is given for images `(N, C, H, W)`, and what it makes of it.

    Returns:
        The penultimate layer's output `(N, D)` and the logits `(N, K)`, on the CPU; None if the
        network has neither a fully connected layer nor a convolution.
    """
    layers = [m for m in model.network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    if not layers:
        return None
    found: list[Tensor] = []
    hook = layers[-1].register_forward_pre_hook(lambda _, given: found.append(given[0]))
    training = model.training
    try:
        with torch.no_grad():
            parts = [model.eval()(part) for part in torch.split(images, _AT_ONCE)]
    finally:
        model.train(training)
        hook.remove()
    vectors = torch.cat([part.flatten(1) for part in found])
    return vectors.float().cpu(), torch.cat(parts).float().cpu()

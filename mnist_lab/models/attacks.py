"""Images changed by so little as is allowed, so that a network takes them for something else.

Images here are floats from 0 to 1 and stay floats: unlike a picture in a file, they are not rounded
to bytes. Gradients go through all that the network does with images, its preprocessing too, so it
should be in eval mode, in which an image is judged alike whatever its batch holds. What is random
follows torch's generator.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from mnist_lab.settings.ranges import Count, Ranged, Share

Network = Callable[[Tensor], Tensor]
"""From images `(N, C, H, W)` to logits `(N, K)`; log-probabilities are logits, too."""


class PGD(Ranged):
    """Projected gradient descent: small steps that raise the loss, within a box around the image.

    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018: every
    step moves each value by `step_size` along the sign of its gradient of the cross-entropy, then
    back to within `eps` of the image (L-infinity) and to within 0 and 1.

    Args:
        eps: by how much each value of an image may change.
        steps: of each ascent.
        step_size: by how much a step moves a value.
        random_start: begins each ascent anywhere in the box, or, without, at the image.
        restarts: how many ascents there are; training takes one.
    """

    def __init__(
        self,
        eps: Share = 0.3,
        steps: Count = 40,
        step_size: Share = 0.01,
        random_start: bool = True,
        restarts: Count = 1,
    ) -> None:
        self.eps, self.steps = eps, steps
        self.step_size: float | None = step_size
        self.random_start, self.restarts = random_start, restarts
        self._stride = step_size

    def last(self, network: Network, images: Tensor, labels: Tensor) -> Tensor:
        """Where one ascent ends: what networks are trained on.

        Args:
            images: `(N, C, H, W)`, floats from 0 to 1, which stay as they are.
            labels: `(N,)`, int64.
        """
        point = self._start(images)
        for _ in range(self.steps):
            gradient, _ = _gradient(network, point, labels)
            point = self._moved(point, images, gradient)
        return point

    def worst(self, network: Network, images: Tensor, labels: Tensor) -> Tensor:
        """Of the images themselves and all that the ascents come by, what deceives most.

        That is where the label falls farthest behind another class. So one that has been taken for
        another class stays so: neither more steps nor more restarts ever help the network, and an
        image that is not recognised as it is counts as a mistake. The arguments are those of
        `last`.
        """
        worst = images
        with torch.no_grad():
            behind = _behind(network(images), labels)
        for _ in range(self.restarts):
            for point, logits in self._ascent(network, images, labels):
                now = _behind(logits, labels)
                worse = (now > behind).to(images.device)
                worst = torch.where(worse.view(-1, 1, 1, 1), point, worst)
                behind = torch.maximum(behind, now)
        return worst

    def _ascent(
        self, network: Network, images: Tensor, labels: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Every place that an ascent comes by, with its logits."""
        point = self._start(images)
        for _ in range(self.steps):
            gradient, logits = _gradient(network, point, labels)
            yield point, logits
            point = self._moved(point, images, gradient)
        with torch.no_grad():
            yield point, network(point)

    def _start(self, images: Tensor) -> Tensor:
        if not self.random_start:
            return images
        noise = torch.empty_like(images).uniform_(-self.eps, self.eps)
        return noise.add_(images).clamp_(0, 1)

    def _moved(self, point: Tensor, images: Tensor, gradient: Tensor) -> Tensor:
        low, high = (images - self.eps).clamp_(min=0), (images + self.eps).clamp_(max=1)
        return torch.clamp(point + self._stride * gradient.sign(), low, high)


class FGSM(PGD):
    """Fast gradient sign method: one step of `eps` along the sign of the loss's gradient.

    Goodfellow, Shlens and Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015. To
    train against it, Wong, Rice and Kolter, "Fast is better than free", ICLR 2020, have it begin at
    a random place, and the step go a quarter farther than `eps`, back to which it is brought.

    Args:
        eps: by how much each value of an image may change.
        step_size: by how much the step moves a value; by `eps` unless given.
        random_start: begins anywhere within `eps` of the image, or, without, at the image.
    """

    def __init__(
        self, eps: Share = 0.3, step_size: Share | None = None, random_start: bool = False
    ) -> None:
        stride = eps if step_size is None else step_size
        super().__init__(eps, steps=1, step_size=stride, random_start=random_start)
        self.step_size = step_size


def as_floats(images: Tensor) -> Tensor:
    """Images from 0 to 1: bytes divided by 255, floats as they are."""
    if images.is_floating_point():
        return images
    return images.to(torch.get_default_dtype()).div_(255)


def _gradient(network: Network, point: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The cross-entropy's gradient by the images, and their logits; no weight gets any."""
    point = point.detach().requires_grad_()
    # In half precision a gradient that is small would be 0, and its sign nothing to go by.
    with torch.enable_grad(), torch.autocast(point.device.type, enabled=False):
        logits = network(point)
        loss = functional.cross_entropy(logits, labels.to(logits.device), reduction="sum")
        (gradient,) = torch.autograd.grad(loss, point)
    return gradient, logits.detach()


def _behind(logits: Tensor, labels: Tensor) -> Tensor:
    """By how much each label's logit is below the largest other one, `(N,)`."""
    column = labels.to(logits.device).unsqueeze(1)
    others = logits.scatter(1, column, -torch.inf).amax(1)
    return others - logits.gather(1, column).squeeze(1)

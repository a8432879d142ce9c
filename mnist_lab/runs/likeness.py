"""Whether images are such as a network was trained on: if not, its answers would be chance."""

from dataclasses import dataclass

from torch import Tensor

from mnist_lab import LabError
from mnist_lab.data.typical import nearest
from mnist_lab.runs.trained import Trained

_FEW = 20  # fewer say nothing of how images are turned
_SIGMAS = 4


@dataclass
class Remedies:
    """What is done to images before a network sees them; None: nothing, if they look right so.

    Attributes:
        invert: dark for light.
        transpose: rows for columns.
        scale: what pixels are multiplied by; whoever reads the images does that.
    """

    invert: bool | None = None
    transpose: bool | None = None
    scale: float | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Of images `(N, C, H, W)` uint8."""
        if self.transpose:
            images = images.transpose(2, 3)
        return 255 - images if self.invert else images

    def examine(self, images: Tensor, trained: Trained, what: str) -> str | None:
        """Hold the first of them, brought into form already, against the training images.

        Each is measured by its distance to the nearest of the classes' mean training images, and
        so is what `invert` and `transpose` would make of it; `scale` follows from the brightest
        pixel. Older checkpoints know no more than the mean and deviation of all pixels.

        Args:
            what: they are, to begin a line with.

        Returns:
            What is odd about them, if anything.

        Raises:
            LabError: they are not such images, but would be with one of these settings.
        """
        brightest = int(images.max())
        if trained.typical is None:
            if trained.model.normalize == "train":
                self._examine_roughly(images, brightest, trained, what)
            return None
        means, (usual, deviation), peak = trained.typical
        odd = usual + _SIGMAS * deviation
        means = trained.model.fitted(means.to(images.device))
        images = trained.model.fitted(images)
        found = nearest(images, means)
        if self.invert is None and nearest(255 - images, means).mean() < 0.75 * found.mean():
            raise _refusal(what, "invert", "true", "dark where those trained on are light")
        factor = peak / max(brightest, 1)
        if self.scale is None and brightest > 0 and not 1 / 4 <= factor <= 4:
            told = f"their brightest pixel is {brightest}, of those trained on {peak}"
            raise _refusal(what, "scale", f"{factor:.4g}", told)
        if self.transpose is None and len(images) >= _FEW:
            turned = nearest(images.transpose(2, 3), means)
            gain = found - turned
            sure = max(0.03 * float(found.mean()), _SIGMAS * float(gain.std()) / len(gain) ** 0.5)
            if turned.mean() < odd and gain.mean() > sure:
                raise _refusal(what, "transpose", "true", "with columns for rows")
        if found.mean() > odd or not 2 / 3 <= factor <= 3 / 2:
            return (
                f"{what}: images unlike those trained on: {float(found.mean()):.1f} from the "
                f"nearest class's mean (there {usual:.1f}), brightest pixel {brightest} "
                f"(there {peak})"
            )
        return None

    def _examine_roughly(self, images: Tensor, brightest: int, trained: Trained, what: str) -> None:
        mean, deviation = float(trained.model.mean), float(trained.model.std)
        pixels = images.float() / 255
        found = float(pixels.mean())
        inverted = abs(1 - found - mean) < abs(found - mean) / 2
        if self.invert is None and inverted and len(images) >= _FEW:
            told = f"their mean is {found:.2f}, of those trained on {mean:.2f}"
            raise _refusal(what, "invert", "true", told)
        if self.scale is None and 0 < brightest < 64 and float(pixels.std()) < deviation / 4:
            told = f"their brightest pixel is {brightest} of 255"
            raise _refusal(what, "scale", f"{255 / brightest:.4g}", told)


def _refusal(what: str, key: str, remedy: str, told: str) -> LabError:
    return LabError(
        f"{what}: images unlike those that the network was trained on: {told}; {key}={remedy} puts "
        f"that right, {key}={1 if key == 'scale' else 'false'} takes them as they are"
    )

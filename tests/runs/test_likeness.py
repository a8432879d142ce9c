"""Images that aren't as those trained on: told with what puts it right, and no others are."""

import numpy as np
import pytest
import torch

from mnist_lab import LabError, models
from mnist_lab.data import Digits, RandomAffine
from mnist_lab.data.typical import Typical, nearest
from mnist_lab.runs.likeness import Remedies
from mnist_lab.runs.trained import Trained
from tests.conftest import mnist_source

IMAGES, LABELS = Digits().read(None, "train")
LEARNT, LATER = slice(1000), slice(1000, None)


def network(images, labels, stored=True):
    """A network that knows these training images, or, as older ones, their mean and deviation."""
    model = models.MLP(hidden=[])
    model.mean.fill_(float(images.double().mean() / 255))
    model.std.fill_(float(images.double().std() / 255))
    typical = Typical.of(images, labels, 10) if stored else None
    return Trained(model, [str(digit) for digit in range(10)], None, typical)


@pytest.fixture(scope="module")
def digits():
    return network(IMAGES[LEARNT], LABELS[LEARNT])


def examined(images, trained, **settings):
    remedies = Remedies(**settings)
    return remedies.examine(remedies(images), trained, "x.csv")


def test_what_is_typical_is_what_numpy_finds():
    pixels, labels = IMAGES[LEARNT].numpy()[:, 0], LABELS[LEARNT].numpy()
    means = np.stack([pixels[labels == digit].mean(0).round() for digit in range(10)])
    apart = (pixels[:, None] / 255 - means / 255).reshape(1000, 10, -1)
    distances = np.sqrt((apart**2).sum(-1)).min(1)
    found = Typical.of(IMAGES[LEARNT], LABELS[LEARNT], 10)
    assert (found.means[:, 0].numpy() == means).all()
    assert found.distance == pytest.approx((distances.mean(), distances.std()), rel=1e-4)
    assert found.peak == 255
    near = nearest(IMAGES[LEARNT], found.means).numpy()
    np.testing.assert_allclose(near, distances, rtol=1e-3)


def test_a_class_without_images_is_no_image_to_be_near_to():
    found = Typical.of(IMAGES[:50], LABELS[:50] % 3, 10)
    assert len(found.means) == 3


WRONG = {
    "dark on light": (lambda x: 255 - x, {"invert": True}, "invert=true"),
    "0 and 1": (lambda x: (x > 127).byte(), {}, "scale=255 "),
    "16 levels": (lambda x: x // 16, {}, "scale=17 "),
    "columns for rows": (lambda x: x.transpose(2, 3), {"transpose": True}, "transpose=true"),
}


@pytest.mark.parametrize("count", [1, 20, 400])
@pytest.mark.parametrize("damage, settings, told", WRONG.values(), ids=WRONG)  # noqa: PT006
def test_wrong_images_are_refused_with_what_puts_them_right(count, damage, settings, told, digits):
    images = damage(IMAGES[LATER][:count])
    if count < 20 and "transpose" in settings:
        examined(images, digits)  # too few to be sure
        return
    with pytest.raises(LabError, match=told) as raised:
        examined(images, digits)
    assert str(raised.value).startswith("x.csv: images unlike those")
    if settings:
        assert examined(images, digits, **settings) is None
        assert torch.equal(Remedies(**settings)(images), IMAGES[LATER][:count])
    # The user may know better: taken as they are, at most told.
    key = told.partition("=")[0]
    examined(images, digits, **{key: 1 if key == "scale" else False})


def honest(images, labels):
    """Each class alone, single images, damaged ones: in none of them anything is wrong."""
    torch.manual_seed(0)
    yield from (images[labels == digit] for digit in range(10))
    yield from images[:200].split(1)
    yield from (RandomAffine(degrees=degrees)(images) for degrees in (15, 30))
    yield from (images.roll(by, axis) for by in (-2, 2) for axis in (2, 3))


def test_honest_images_are_not_refused(digits):
    for images in honest(IMAGES[LATER], LABELS[LATER]):
        assert examined(images, digits) is None


@pytest.mark.mnist
def test_neither_are_those_of_mnist(mnist_root):
    source = mnist_source()
    images, labels = source.read(mnist_root, "train")
    trained = network(images[:20_000], labels[:20_000])
    for each in honest(images[-5000:], labels[-5000:]):
        examined(each, trained)  # single ones may be told as odd
    for damage, _, told in WRONG.values():
        for digit in range(10):
            with pytest.raises(LabError, match=told):
                examined(damage(images[-5000:][labels[-5000:] == digit]), trained)


def test_odd_images_without_a_remedy_are_told(digits):
    noise = torch.from_numpy(np.random.RandomState(0).randint(256, size=(50, 1, 28, 28))).byte()
    assert "x.csv: images unlike those trained on: 14." in examined(noise, digits)
    faint = examined(IMAGES[LATER] // 2, digits)
    assert "brightest pixel 127 (there 255)" in faint


def test_an_older_checkpoint_knows_the_mean_and_deviation():
    trained = network(IMAGES[LEARNT], LABELS[LEARNT], stored=False)
    images = IMAGES[LATER]
    for name in ("dark on light", "0 and 1", "16 levels"):
        damage, _, told = WRONG[name]
        with pytest.raises(LabError, match=told):
            examined(damage(images), trained)
    for each in (*honest(images, LABELS[LATER]), images.transpose(2, 3)):
        assert examined(each, trained) is None
    trained.model.normalize = "none"
    assert examined(255 - images, trained) is None

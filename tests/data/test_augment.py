"""Each image is rotated, scaled and shifted as torchvision would do it, and bent as scipy would."""

import math

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.stats import kstest
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import affine

from mnist_lab.data import (
    Compose,
    OneOf,
    RandomAffine,
    RandomElastic,
    RandomErasing,
    RandomFlip,
)
from tests.conftest import ROOT

HEIGHT, WIDTH, LEVER = 60, 76, 16
LIMITS = {"degrees": 30, "scale": 0.2, "shift": 4}


def spot(x, y):
    """A soft bright spot, at a place in pixels from the middle."""
    rows = torch.arange(HEIGHT).view(-1, 1) - (HEIGHT - 1) / 2 - y
    columns = torch.arange(WIDTH) - (WIDTH - 1) / 2 - x
    return (255 * torch.exp(-(rows**2 + columns**2) / 16)).round().to(torch.uint8)


def marked(count):
    """Copies of an image with a spot in the middle, one to the right of it, and a texture."""
    texture = gaussian_filter(np.random.RandomState(0).rand(HEIGHT, WIDTH), 1)
    texture = (texture - texture.min()) / np.ptp(texture) * 255
    texture = torch.from_numpy(texture).round().to(torch.uint8)
    return torch.stack([spot(0, 0), spot(LEVER, 0), texture]).expand(count, -1, -1, -1)


def place(images):
    """Centres of mass `(N, 2)`, x and y, in pixels from the middle."""
    weights = images.double() / images.double().sum((1, 2), keepdim=True)
    x = (weights.sum(1) * (torch.arange(WIDTH) - (WIDTH - 1) / 2)).sum(1)
    y = (weights.sum(2) * (torch.arange(HEIGHT) - (HEIGHT - 1) / 2)).sum(1)
    return torch.stack([x, y], 1)


def found(images):
    """Each image's angle (in degrees, clockwise), scale and shifts, by where its spots went."""
    middle, right = place(images[:, 0]), place(images[:, 1])
    x, y = (right - middle).unbind(1)
    angle = torch.atan2(y, x) * 180 / math.pi
    return torch.stack([angle, torch.hypot(x, y) / LEVER, *middle.unbind(1)], 1)


def theirs(images, amounts):
    """What torchvision makes of them."""
    return torch.stack(
        [
            affine(
                image,
                angle=angle,
                translate=[right, down],
                scale=scale,
                shear=[0.0],
                interpolation=InterpolationMode.BILINEAR,
            )
            for image, (angle, scale, right, down) in zip(images, amounts.tolist(), strict=True)
        ]
    )


def difference(one, other):
    assert one.dtype == other.dtype == torch.uint8
    assert one.shape == other.shape
    return (one.int() - other.int()).abs().double()


@pytest.mark.parametrize(
    "ranges", [{"degrees": 40}, {"degrees": 180}, {"scale": 0.3}, {"shift": 5}]
)
def test_one_amount_is_applied_as_torchvision_applies_it(ranges):
    images = marked(20)
    torch.manual_seed(0)
    moved = RandomAffine(**ranges)(images)
    torch.manual_seed(0)
    degrees, scale, shift = (ranges.get(name, 0) for name in ("degrees", "scale", "shift"))
    limits = torch.tensor([[degrees, scale, shift, shift]])
    amounts = (torch.rand(4, 20) * 2 - 1).T * limits + torch.tensor([[0, 1, 0, 0]])
    assert difference(moved, theirs(images, amounts)).max() <= 1
    assert difference(moved, images).mean((1, 2, 3)).min() > 0.5
    assert len(moved.flatten(1).unique(dim=0)) == 20


def test_all_amounts_together_are_applied_as_torchvision_applies_them():
    torch.manual_seed(0)
    images = marked(20)
    moved = RandomAffine(**LIMITS)(images)
    # The spots tell the transform up to some hundredths of a pixel.
    error = difference(moved, theirs(images, found(moved)))
    assert error.mean() < 0.3
    assert error.max() < 20


@pytest.mark.parametrize("name", LIMITS)
def test_amounts_are_drawn_uniformly_within_their_range(name):
    torch.manual_seed(0)
    limit = LIMITS[name]
    angle, scale, right, down = found(RandomAffine(**{name: limit})(marked(600))).T
    amounts = {"degrees": [angle], "scale": [scale - 1], "shift": [right, down]}
    for kind, values in amounts.items():
        for value in values:
            if kind == name:
                assert value.abs().max() < limit * 1.01
                assert kstest(value / limit, "uniform", (-1, 2)).pvalue > 0.01
            else:
                assert value.abs().max() < 0.05
    if name == "shift":
        assert abs(np.corrcoef(right, down)[0, 1]) < 0.1


def test_amounts_are_drawn_apart_from_each_other():
    torch.manual_seed(0)
    amounts = found(RandomAffine(**LIMITS)(marked(600)))
    assert (np.corrcoef(amounts.T) - np.eye(4)).max() < 0.1
    assert len(amounts.unique(dim=0)) == 600


def test_shift_is_its_limit_at_most_whatever_the_rotation_and_scale():
    torch.manual_seed(0)
    _, _, right, down = found(RandomAffine(**LIMITS)(marked(600))).T
    assert right.abs().max() < LIMITS["shift"] * 1.01
    assert down.abs().max() < LIMITS["shift"] * 1.01


@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (2, 3, 7, 50), (1, 1, 33, 1), (1, 2, 1, 9)])
def test_nothing_changes_where_nothing_may(shape):
    images = torch.randint(256, shape, dtype=torch.uint8, generator=torch.manual_seed(0))
    assert torch.equal(RandomAffine()(images), images)


@pytest.mark.parametrize("pixels", [1, 2, 6])
def test_a_shift_by_whole_pixels_moves_pixels(pixels):
    count, height, width = 30000, 9, 13
    images = torch.randint(256, (count, 1, height, width), dtype=torch.uint8)
    torch.manual_seed(0)
    _, _, right, down = torch.rand(4, count) * 2 - 1
    torch.manual_seed(0)
    # Of all images there is one that is drawn as far along one axis as along the other; a limit
    # that makes the one a whole number makes both whole.
    chosen = ((down / right).abs() - 1).abs().argmin()
    moved = RandomAffine(shift=pixels / right[chosen].abs().item())(images)[chosen, 0]
    x, y = int(pixels * right[chosen].sign()), int(pixels * down[chosen].sign())
    padded = functional.pad(images[chosen, 0], [pixels] * 4)
    expected = padded[pixels - y :, pixels - x :][:height, :width]
    assert torch.equal(moved, expected)
    rolled = torch.roll(images[chosen, 0], (y, x), (0, 1))
    inside = (slice(pixels, height - pixels), slice(pixels, width - pixels))
    assert torch.equal(moved[inside], rolled[inside])


def test_what_comes_in_is_black():
    torch.manual_seed(0)
    images = torch.full((200, 1, 10, 10), 255, dtype=torch.uint8)
    moved = RandomAffine(shift=3)(images).double()
    # A shift by x and y leaves (10 - x)(10 - y) pixels of the image, as fractions too.
    kept = moved[:, 0].sum((1, 2)) / 255
    columns, rows = moved[:, 0, 5].sum(1) / 255, moved[:, 0, :, 5].sum(1) / 255
    torch.testing.assert_close(kept, columns * rows, rtol=0, atol=0.1)
    assert kept.min() < 60
    assert kept.max() <= 100


def test_draws_follow_torchs_seed():
    images = marked(4)
    transform = RandomAffine(degrees=10, scale=0.1, shift=2)
    torch.manual_seed(1)
    first, second = transform(images), transform(images)
    torch.manual_seed(1)
    assert torch.equal(transform(images), first)
    assert torch.equal(transform(images), second)
    assert not torch.equal(first, second)


def test_input_is_left_alone():
    images = marked(3).clone()
    before = images.clone()
    RandomAffine(degrees=10, scale=0.1, shift=2)(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("name", "value"),
    [("degrees", -1), ("degrees", 181), ("scale", -0.1), ("scale", 1), ("shift", -1)],
)
def test_bad_ranges_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        RandomAffine(**{name: value})


@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (3, 3, 20, 33)])
def test_images_are_bent_as_scipy_does_it(shape):
    count, _, height, width = shape
    smooth = gaussian_filter(np.random.RandomState(0).rand(*shape), (0, 0, 1, 1))
    images = torch.from_numpy(smooth / smooth.max() * 255).round().to(torch.uint8)
    elastic = RandomElastic(alpha=34, sigma=4)
    torch.manual_seed(0)
    bent = elastic(images)
    torch.manual_seed(0)
    right, down = elastic.field(count, height, width, images.device).double().numpy().swapaxes(0, 1)
    rows, columns = np.mgrid[:height, :width]
    expected = [
        [map_coordinates(plane.double(), [rows + d, columns + r], order=1, mode="grid-constant")
         for plane in image]
        for image, r, d in zip(images, right, down, strict=True)
    ]  # fmt: skip
    assert difference(bent, torch.from_numpy(np.round(expected)).to(torch.uint8)).max() <= 1
    assert difference(bent, images).mean((1, 2, 3)).min() > 2


@pytest.mark.parametrize("sigma", [2.0, 4.0])
def test_the_field_is_smoothed_noise_of_the_papers_strength(sigma):
    height, width, alpha, count = 20, 28, 10.0, 20000
    torch.manual_seed(0)
    elastic = RandomElastic(alpha, sigma)
    field = elastic.field(count, height, width, torch.device("cpu")).double()
    uniform = np.random.RandomState(0).uniform(-1, 1, (4000, height, width))
    theirs = alpha * gaussian_filter(uniform, (0, sigma, sigma), mode="constant")
    # Deviations at each place, at the border less; and how alike neighbours are.
    np.testing.assert_allclose(field.std((0, 1)), theirs.std(0), rtol=0.06)
    middle = (slice(None), height // 2, width // 2)
    for steps in (1, int(sigma), int(2 * sigma)):
        beside = (slice(None), height // 2, width // 2 + steps)
        ours = np.corrcoef(field[:, 0][middle], field[:, 0][beside])[0, 1]
        assert abs(ours - np.corrcoef(theirs[middle], theirs[beside])[0, 1]) < 0.05
    assert abs(np.corrcoef(field[:, 0][middle], field[:, 1][middle])[0, 1]) < 0.03
    assert kstest(field[:, 0][middle] / field[:, 0][middle].std(), "norm").pvalue > 0.01


def test_a_black_square_of_the_side_at_any_place():
    side, count, height, width = 6, 4000, 20, 24
    torch.manual_seed(0)
    images = torch.full((count, 2, height, width), 9, dtype=torch.uint8)
    erased = RandomErasing(side, share=0.25)(images)
    assert torch.equal(erased[:, 0], erased[:, 1])
    black = erased[:, 0] == 0
    hit = black.any(2).any(1)
    assert hit.double().mean() == pytest.approx(0.25, abs=0.03)
    rows, columns = black.any(2).sum(1)[hit], black.any(1).sum(1)[hit]
    assert torch.equal(black.sum((1, 2))[hit], rows * columns)  # a rectangle
    for lengths, size in ((rows, height), (columns, width)):
        # Cut off at the border where the middle is nearer to it than half a side.
        whole = (lengths == side).double().mean()
        assert whole == pytest.approx((size - side + 1) / size, abs=0.05)
        assert (lengths.min(), lengths.max()) == (side // 2, side)
    assert torch.equal(RandomErasing(side, share=0.0)(images), images)


def test_flipping_mirrors_a_share_of_the_images():
    torch.manual_seed(0)
    images = torch.arange(12, dtype=torch.uint8).view(1, 1, 3, 4).expand(4000, 2, 3, 4)
    flipped = RandomFlip(share=0.25)(images)
    mirrored = (flipped == images.flip(3)).all((1, 2, 3))
    assert (mirrored | (flipped == images).all((1, 2, 3))).all()
    assert mirrored.double().mean() == pytest.approx(0.25, abs=0.03)


def test_transforms_follow_one_another_as_they_are_named():
    images = marked(8)
    affine, erasing = RandomAffine(degrees=30), RandomErasing(10, share=1.0)
    torch.manual_seed(0)
    expected = erasing(affine(images))
    torch.manual_seed(0)
    assert torch.equal(Compose(one=affine, other=erasing)(images), expected)
    shipped = instantiate(OmegaConf.load(ROOT / "conf/augment/affine_elastic.yaml"))
    assert [type(each) for each in shipped.transforms.values()] == [RandomAffine, RandomElastic]


def test_each_image_goes_through_one_of_several_or_none_in_equal_shares():
    """Told by what each adds to an image's number."""
    numbers = torch.arange(120, dtype=torch.uint8)
    images = numbers.view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    mixed = OneOf(first=lambda images: images + 120, second=lambda images: 255 - images)
    torch.manual_seed(0)
    added, shares = [], []
    for _ in range(200):
        found = mixed(images)[:, 0, 0, 0].int()
        kind = torch.where(found == numbers, 0, torch.where(found == numbers.int() + 120, 1, 2))
        assert torch.equal(found[kind == 2], 255 - numbers.int()[kind == 2])
        shares.append(torch.bincount(kind, minlength=3).tolist())
        added.append(kind)
    assert shares == [[40, 40, 40]] * 200
    # Over batches each image has met each: binomial with n = 200, p = 1/3, whose deviation is 6.7.
    met = torch.stack([(torch.stack(added) == kind).sum(0) for kind in range(3)])
    assert met.min() > 66.7 - 5 * 6.7
    assert met.max() < 66.7 + 5 * 6.7
    assert torch.equal(images[:, 0, 0, 0], numbers)
    assert OneOf(first=RandomAffine(shift=2))(images[:1]).shape == (1, 1, 2, 2)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (RandomElastic, "alpha", -1),
        (RandomElastic, "sigma", 0),
        (RandomErasing, "side", 0),
        (RandomErasing, "share", 1.1),
    ],
)
def test_amounts_that_are_none_are_refused_by_name(kind, name, value):
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        kind(**{name: value})

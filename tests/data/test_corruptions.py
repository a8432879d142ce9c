"""Each corruption of MNIST-C against scipy, numpy, counts, or what was made by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import (
    affine_transform,
    correlate,
    gaussian_filter,
    label,
    map_coordinates,
    sobel,
)
from scipy.stats import kstest, poisson

from mnist_lab import LabError, data
from mnist_lab.data.corruptions import smoothed
from mnist_lab.data.overlays import drawn, plasma
from mnist_lab.settings.conf import make

NAMES = [
    "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "shear", "scale", "rotate",
    "brightness", "translate", "stripe", "fog", "spatter", "dotted_line", "zigzag", "canny_edges",
]  # fmt: skip
FIXED = {"scale", "brightness", "stripe", "canny_edges"}  # in which nothing is random
GRADED = ["shot_noise", "impulse_noise", "glass_blur", "motion_blur", "shear", "scale", "rotate",
          "brightness", "translate", "fog", "spatter"]  # fmt: skip
CPU = torch.device("cpu")


def soft(*shape):
    """Smooth random images, uint8."""
    values = gaussian_filter(np.random.RandomState(0).rand(*shape), (0, 0, 1.5, 1.5))
    values = (values - values.min()) / np.ptp(values)
    return torch.from_numpy(values * 255).round().to(torch.uint8)


def after(seed, corruption, images):
    torch.manual_seed(seed)
    return corruption(images)


def difference(one, other):
    return np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float))


def test_the_suite_is_the_fifteen_at_the_strength_that_they_have_alone():
    suite = make("corrupt/mnist_c")
    assert list(suite) == NAMES
    for name, corruption in suite.items():
        alone, default = make(f"corrupt/{name}"), type(corruption)()
        assert vars(corruption) == vars(alone) == vars(default)
        assert type(corruption).__name__ == name.title().replace("_", "")
    strengths = (suite["shot_noise"].photons, suite["impulse_noise"].share, suite["fog"].thickness,
                 suite["fog"].decay, suite["scale"].factor, suite["translate"].pixels,
                 suite["rotate"].angle, suite["shear"].factor)  # fmt: skip
    assert strengths == (3, 0.17, 3.0, 1.4, 0.7, 3, 0.4, 0.4)  # as published


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (3, 3, 20, 33), (1, 1, 9, 8)])
def test_bytes_of_the_same_shape_that_follow_torchs_seed(name, shape):
    if name == "canny_edges" and shape[1] == 3:
        return
    images = soft(*shape)
    before, corruption = images.clone(), make(f"corrupt/{name}")
    one = after(1, corruption, images)
    assert (one.dtype, one.shape) == (torch.uint8, images.shape)
    assert torch.equal(images, before)
    assert not torch.equal(one, images)
    assert torch.equal(after(1, corruption, images), one)
    assert torch.equal(after(2, corruption, images), one) == (name in FIXED)


@pytest.mark.parametrize("name", GRADED)
def test_a_severity_that_is_not_there_is_refused_and_others_differ(name):
    images = soft(20, 1, 28, 28)
    if name == "rotate":  # of a texture every large angle changes as much
        images = torch.zeros_like(images)
        images[..., 4:24, 12:16] = 255
    kind = type(make(f"corrupt/{name}"))
    for severity in (0, 6):
        with pytest.raises(ValueError, match=f"severity={severity}: should be"):
            kind(severity=severity)
    each = [after(0, kind(severity=severity), images) for severity in range(1, 6)]
    changes = [difference(one, images).mean() for one in each]
    assert len(set(changes)) == 5
    if name not in ("glass_blur", "spatter"):  # of which several parameters differ
        assert changes == sorted(changes)


@pytest.mark.mnist
def test_images_change_as_much_as_the_papers_pictures(mnist_root):
    """Which these ranges were held against by eye: docs/images/mnist_c.png."""
    dataset = make("data/mnist", root=str(mnist_root))
    images = dataset.tensors("test")[0][:300]
    changes = {name: difference(after(0, corruption, images), images).mean()
               for name, corruption in make("corrupt/mnist_c").items()}  # fmt: skip
    ranges = {
        "shot_noise": (8, 14), "impulse_noise": (19, 25), "glass_blur": (16, 27),
        "motion_blur": (18, 29), "shear": (20, 32), "scale": (22, 33), "rotate": (22, 34),
        "brightness": (112, 120), "translate": (38, 54), "stripe": (122, 128), "fog": (75, 105),
        "spatter": (6, 12), "dotted_line": (5, 9), "zigzag": (8, 14), "canny_edges": (30, 52),
    }  # fmt: skip
    assert {name: change for name, change in changes.items()
            if not ranges[name][0] < change < ranges[name][1]} == {}  # fmt: skip


def test_a_pixel_of_shot_noise_is_a_poisson_number_of_photons():
    corruption = data.ShotNoise(severity=5)
    for grey in (0, 85, 255):
        images = torch.full((40, 1, 50, 50), grey, dtype=torch.uint8)
        noisy = after(0, corruption, images)
        expected = [poisson.pmf(k, 3 * grey / 255) for k in range(3)]
        for level, share in zip((0, 85, 170), expected, strict=True):
            assert (noisy == level).double().mean() == pytest.approx(share, abs=0.01)
        assert (noisy == 255).double().mean() == pytest.approx(1 - sum(expected), abs=0.01)


def test_impulse_noise_is_salt_and_pepper_in_a_share_of_the_pixels():
    images = torch.full((40, 1, 50, 50), 100, dtype=torch.uint8)
    noisy = after(0, data.ImpulseNoise(), images)
    for level, share in ((0, 0.085), (255, 0.085), (100, 0.83)):
        assert (noisy == level).double().mean() == pytest.approx(share, abs=0.005)
    hit = (noisy != 100).double()
    assert hit.mean(0).std() == pytest.approx(math.sqrt(0.17 * 0.83 / 40), rel=0.1)  # anywhere


@pytest.mark.parametrize("sigma", [0.7, 1.5, 4.0])
def test_smoothing_is_scipys(sigma):
    images = soft(2, 2, 21, 28).double()
    expected = gaussian_filter(images, (0, 0, sigma, sigma), mode="nearest", truncate=4)
    np.testing.assert_allclose(smoothed(images.float(), sigma), expected, atol=1e-3)


@pytest.mark.parametrize("severity", [1, 2])
def test_glass_swaps_one_pixel_after_another_between_two_smoothings(severity):
    glass = data.GlassBlur(severity=severity)
    images = soft(3, 2, 7, 9)
    blurred = after(0, glass, images)

    torch.manual_seed(0)
    options = {"mode": "nearest", "truncate": 4}
    values = gaussian_filter(images.double(), (0, 0, glass.sigma, glass.sigma), **options)
    for _ in range(glass.passes):
        apart = torch.randint(-glass.delta, glass.delta + 1, (2, 63, 3))
        swapped = torch.randint(2, (63, 3))
        for image, place in np.ndindex(3, 63):
            place = 62 - place
            y, x = divmod(place, 9)
            if swapped[place, image]:
                down, right = apart[:, place, image].tolist()
                v, u = min(max(y + down, 0), 6), min(max(x + right, 0), 8)
                here = values[image, :, y, x].copy()
                values[image, :, y, x] = values[image, :, v, u]
                values[image, :, v, u] = here
    expected = gaussian_filter(values, (0, 0, glass.sigma, glass.sigma), **options)
    assert difference(blurred, expected).max() < 0.51
    assert difference(apart.unique(), np.arange(-glass.delta, glass.delta + 1)).max() == 0


def test_motion_is_half_a_gaussian_along_a_line():
    images, blur = soft(4, 2, 28, 30), data.MotionBlur()
    weights = np.exp(-(np.arange(11) ** 2) / 18)
    weights /= weights.sum()
    kernel = np.zeros(21)
    kernel[10:] = weights  # pixels on the right
    expected = correlate(images.double(), kernel.reshape(1, 1, 1, -1), mode="constant")
    assert difference(blur.along(images, torch.zeros(4)), expected).max() <= 0.501
    angles = torch.tensor([0.7, -0.7, 0.2, 1.5])
    rows, columns = np.mgrid[:28, :30]
    for image, angle, ours in zip(images, angles.tolist(), blur.along(images, angles), strict=True):
        steps = [(rows + i * math.sin(angle), columns + i * math.cos(angle)) for i in range(11)]
        for plane, got in zip(image.double(), ours, strict=True):
            parts = [map_coordinates(plane, step, order=1, mode="grid-constant") for step in steps]
            assert difference(got, np.tensordot(weights, parts, 1)).max() < 0.51


def test_directions_of_motion_lie_within_45_degrees():
    images = torch.zeros(500, 1, 41, 41, dtype=torch.uint8)
    images[:, :, 17:24, 17:24] = 255
    mass = after(0, data.MotionBlur(), images).double()
    along = torch.arange(41) - 20
    x = (mass.sum((1, 2)) * along).sum(1)
    y = (mass.sum((1, 3)) * along).sum(1)
    angles = np.asarray(torch.atan2(-y, -x)) / (math.pi / 4)  # it is drawn from the other side
    assert np.abs(angles).max() < 1.01
    assert kstest(angles, "uniform", (-1, 2)).pvalue > 0.01


COS, SIN = math.cos(0.4), math.sin(0.4)
# Rows and columns of the input by those of the output, as scipy takes them; either way.
WARPS = {
    "shear": [[[1, 0], [0.4, 1]], [[1, 0], [-0.4, 1]]],
    "rotate": [[[COS, SIN], [-SIN, COS]], [[COS, -SIN], [SIN, COS]]],
    "scale": [[[1 / 0.7, 0], [0, 1 / 0.7]]],
}


@pytest.mark.parametrize("name", WARPS)
def test_images_are_warped_as_scipy_does_it(name):
    images = soft(60, 1, 28, 33)
    middle = np.array([13.5, 16])
    warped = after(0, make(f"corrupt/{name}"), images).numpy()
    errors = []
    for matrix in map(np.array, WARPS[name]):
        ours = [affine_transform(image[0].double().numpy(), matrix, middle - matrix @ middle,
                                 order=1, mode="grid-constant") for image in images]  # fmt: skip
        errors.append(difference(warped[:, 0], ours).max((1, 2)))
    assert np.min(errors, 0).max() < 0.52
    ways = np.bincount(np.argmin(errors, 0), minlength=len(errors)) / 60
    assert ways.min() > 0.3  # either way about as often


def test_translation_is_by_whole_pixels_along_both_axes():
    images = soft(200, 1, 28, 28)
    wide = np.pad(images.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)))
    ways = [wide[..., y : y + 28, x : x + 28] for y in (0, 6) for x in (0, 6)]
    moved = after(0, data.Translate(), images).numpy()
    same = np.array([(moved == way).all((1, 2, 3)) for way in ways])
    assert (same.sum(0) == 1).all()
    assert same.mean(1).min() > 0.15


def test_brightness_and_stripes_are_exact():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 8, 32)
    values = np.arange(256).reshape(8, 32)
    for severity, levels in ((1, 26), (5, 128)):
        brighter = data.Brightness(severity=severity)(images)[0, 0]
        assert (np.asarray(brighter) == np.minimum(values + levels, 255)).all()
    image = soft(1, 3, 6, 28)
    expected = image.numpy().copy()
    expected[..., [*range(7), *range(21, 28)]] = 255 - expected[..., [*range(7), *range(21, 28)]]
    assert (np.asarray(data.Stripe()(image)) == expected).all()


@pytest.mark.parametrize("decay", [1.4, 2.0])
def test_a_plasmas_noise_is_smaller_by_a_square_at_half_the_distance(decay):
    torch.manual_seed(0)
    maps = plasma(40, 64, decay, CPU).double().numpy()
    assert (maps.min((1, 2)).tolist(), maps.max((1, 2)).tolist()) == ([0.0] * 40, [1.0] * 40)
    largest, noises = [], []
    for step in (2, 4, 8):  # of middles of squares, against their corners, around the border, too
        corners, half = maps[:, ::step, ::step], step // 2
        right = np.roll(corners, -1, 2)
        around = (corners + right + np.roll(corners, -1, 1) + np.roll(right, -1, 1)) / 4
        noises.append((maps[:, half::step, half::step] - around).reshape(40, -1))
        largest.append(np.abs(noises[-1]).max(1))
        sides = (corners + right) / 4 + (
            maps[:, half::step, half::step] + np.roll(maps[:, half::step, half::step], 1, 1)
        ) / 4
        beside = np.abs(maps[:, ::step, half::step] - sides).max((1, 2))
        np.testing.assert_allclose(beside / largest[-1], 1, atol=0.2)
    ratios = [noises[i + 1].std(1).mean() / noises[i].std(1).mean() for i in (0, 1)]
    np.testing.assert_allclose(ratios, decay**2, rtol=0.05)
    spread = (noises[0] / largest[0][:, None]).ravel()
    assert kstest(spread[::7], "uniform", (-1, 2)).pvalue > 0.001


def test_fog_is_added_and_all_of_it_fitted_below_the_brightest_pixel():
    images = soft(20, 1, 28, 28)
    spots = torch.zeros_like(images)
    spots[:, 0, 0, 0] = images.amax((1, 2, 3))  # as bright
    top = images.amax((1, 2, 3), keepdim=True).double() / 255
    fogs = []
    for each in (images, spots):
        seen = after(0, data.Fog(), each).double() / 255
        fogs.append((seen * (top + 3) / top - each.double() / 255) / 3)
    # The same fog over both, but for what rounding to bytes leaves of it.
    assert difference(*fogs).max() < 0.006 / top.min()
    assert fogs[0].min() > -0.01
    assert fogs[0].max() < 1.01
    assert fogs[0].std((1, 2, 3)).mean() < fogs[0].std()  # patches of one, near or far
    assert len(fogs[0].flatten(1).unique(dim=0)) == 20


def test_spatter_covers_where_smoothed_noise_is_high():
    images = soft(3, 1, 28, 30)
    spatter = data.Spatter()
    noise = np.random.RandomState(1).normal(0.65, 0.3, (3, 1, 28, 30))
    options = {"mode": "nearest", "truncate": 4}
    wet = gaussian_filter(noise, (0, 0, 1, 1), **options) > 0.65
    cover = gaussian_filter(wet.astype(float), (0, 0, 1.5, 1.5), **options)
    cover[cover < 0.8] = 0
    expected = images.numpy() * (1 - cover) + 63 * cover
    ours = spatter.over(images, torch.from_numpy(noise).float())
    assert difference(ours, expected).max() < 0.51
    assert 0.05 < (cover > 0).mean() < 0.4


def heights(images):
    """In each column, the row about which its pixels are bright, and whether there are any."""
    mass = images[:, 0].double().numpy()
    rows = np.arange(images.shape[2]).reshape(1, -1, 1)
    total = mass.sum(1)
    return (mass * rows).sum(1) / np.maximum(total, 1), total > 0


def test_a_line_is_white_in_its_middle_and_soft():
    line = drawn(torch.zeros(1, 2, 20, 3, dtype=torch.uint8), torch.tensor([[10.0, 10.5, 7.0]]),
                 torch.tensor([True, True, False]))  # fmt: skip
    assert torch.equal(line[:, 0], line[:, 1])
    one, half = (round(255 * (1 + math.log(1 - distance / 2.3))) for distance in (1, 0.5))
    assert line[0, 0, 8:13, 0].tolist() == [0, one, 255, one, 0]
    assert line[0, 0, 9:13, 1].tolist() == [0, half, half, 0]
    assert line[..., 2].max() == 0


def test_a_dotted_line_is_straight_and_half_of_it_there():
    lines = after(0, data.DottedLine(), torch.zeros(200, 1, 60, 28, dtype=torch.uint8))
    rows, there = heights(lines)
    columns = np.arange(28)
    assert (there == (columns // 2 % 2 == 1)).all()
    begins = []
    for line in rows:
        slope, begin = np.polyfit(columns[there[0]], line[there[0]], 1)
        assert np.abs(line - slope * columns - begin)[there[0]].max() < 0.5
        begins.append(begin)
    assert kstest(np.array(begins) / 59, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(begins, rows[:, 27])[0, 1]) < 0.2


def test_a_zigzags_teeth_stand_on_a_line():
    lines = after(0, data.Zigzag(), torch.zeros(200, 1, 60, 28, dtype=torch.uint8))
    rows, there = heights(lines)
    inside = (rows > 9).all(1, where=there) & (rows < 50).all(1, where=there)
    columns = np.arange(2, 26)
    assert (there[inside] == np.isin(np.arange(28), columns)).all()
    teeth = [0, 1, 2, 1, 0, -1, -2, -1] * 3
    assert inside.sum() > 50
    for line in rows[inside][:, columns]:
        slope, begin = np.polyfit(columns, line - teeth, 1)
        assert np.abs(line - teeth - slope * columns - begin).max() < 0.6
        assert abs(slope * 23) < 5.5


def edges_by_scipy(image, low=0.1, high=0.2):
    """Canny's edges of an image `(H, W)` of 0..1, one pixel after another."""
    smooth = gaussian_filter(image, 1, mode="nearest", truncate=4)
    down, right = sobel(smooth, 0, mode="nearest"), sobel(smooth, 1, mode="nearest")
    size = np.hypot(right, down)
    thin = np.zeros(image.shape, bool)
    for y, x in np.ndindex(image.shape):
        across = np.array([down[y, x], right[y, x]]) / max(abs(down[y, x]), abs(right[y, x]), 1e-9)
        ahead, behind = (
            map_coordinates(size, np.array([y, x])[:, None] + sign * across[:, None], order=1,
                            mode="nearest")[0]
            for sign in (1, -1)
        )  # fmt: skip
        thin[y, x] = size[y, x] > behind + 1e-4 and size[y, x] >= ahead - 1e-4
    pieces, count = label(thin & (size >= low), np.ones((3, 3)))
    strong = set(pieces[thin & (size >= high)].tolist()) - {0}
    assert count >= len(strong)
    return np.isin(pieces, list(strong))


def test_edges_are_those_of_scipys_filters_and_components():
    images = soft(3, 1, 28, 28)
    faint = images // 3  # of which half of the edges hang on the lower threshold
    for image in torch.cat([images, faint]):
        expected = edges_by_scipy(image[0].double().numpy() / 255)
        ours = data.CannyEdges()(image.unsqueeze(0))[0, 0].numpy()
        assert set(np.unique(ours)) <= {0, 255}
        assert (ours > 0).sum() > 5
        assert ((ours > 0) != expected).mean() < 0.005  # but for what rounding decides


def test_edges_of_simple_forms():
    images = torch.zeros(3, 1, 20, 20, dtype=torch.uint8)
    images[1, :, :, 10:] = 255
    images[2, :, 6:14, 6:14] = 255
    nothing, step, square = data.CannyEdges()(images)[:, 0] > 0
    assert not nothing.any()
    assert step.sum() == 20  # one pixel wide, from side to side
    assert step[:, 9].all()
    outside, count = label(~square.numpy())  # by sides alone
    assert count == 2  # closed
    assert outside[0, 0] != outside[10, 10]
    assert 20 <= square.sum() <= 36


def test_edges_of_colour_images_are_refused():
    with pytest.raises(LabError, match="grey images alone: these have 3 channels"):
        data.CannyEdges()(soft(2, 3, 9, 9))


def test_one_can_be_trained_with():
    augmented = make("data/digits", augment={"_target_": "mnist_lab.data.Fog", "severity": 2})
    assert isinstance(augmented.augment, data.Fog)
    assert augmented.augment.thickness == 2

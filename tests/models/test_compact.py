"""Networks that are accurate for their size: what their layers compute."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mnist_lab.models import CompactNet
from tests.models.noise import noise


def test_it_computes_what_its_layers_say():
    model = CompactNet(stem=3, widths=[[4], [5]], head="flat", dropout=0.5).eval()
    images = noise(2, 1, 28, 28)
    x = model.preprocess(images)
    stem, stem_norm, _, first, _, first_norm, _, second, second_norm, *_, last = model.network
    x = stem_norm(functional.conv2d(x, stem.weight, stride=2)).relu()
    assert x.shape == (2, 3, 12, 12)
    x = first_norm(functional.max_pool2d(functional.conv2d(x, first.weight), 2)).relu()
    x = second_norm(functional.conv2d(x, second.weight)).relu()
    assert x.shape == (2, 5, 3, 3)
    expected = functional.linear(x.flatten(1), last.weight, last.bias)
    torch.testing.assert_close(model(images), expected)


def test_separable_convolutions_on_unshuffled_pixels_compute_what_they_say():
    model = CompactNet(stem=3, early="unshuffle", widths=[[5]], separable=True).eval()
    images = noise(2, 1, 28, 28)
    x = model.preprocess(images)
    x = torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], dim=1)
    _, stem, stem_norm, _, each, mixed, norm, *_, last = model.network
    x = stem_norm(functional.conv2d(x, stem.weight)).relu()
    maps = [functional.conv2d(x[:, [i]], each.weight[[i]]) for i in range(3)]
    x = torch.einsum("nihw,oi->nohw", torch.cat(maps, 1), mixed.weight[..., 0, 0])
    x = norm(x).relu()
    assert x.shape == (2, 5, 10, 10)
    expected = functional.linear(x.mean((2, 3)), last.weight, last.bias)
    torch.testing.assert_close(model(images), expected)


def test_what_pools_early_computes_what_its_layers_say():
    model = CompactNet(stem=3, early="pool", widths=[[4]]).eval()
    images = noise(2, 1, 28, 28)
    x = model.preprocess(images)
    stem, _, stem_norm, _, conv, norm, *_, last = model.network
    x = stem_norm(functional.max_pool2d(functional.conv2d(x, stem.weight), 2)).relu()
    assert x.shape == (2, 3, 13, 13)
    x = norm(functional.conv2d(x, conv.weight)).relu().mean((2, 3))
    torch.testing.assert_close(model(images), functional.linear(x, last.weight, last.bias))


def test_the_first_block_may_work_on_all_pixels():
    model = CompactNet(stem=3, early="none", widths=[[4], [5]]).eval()
    images = noise(2, 1, 28, 28)
    stem, stem_norm, _, first, _, first_norm, _, second, second_norm, *_, last = model.network
    x = stem_norm(functional.conv2d(model.preprocess(images), stem.weight)).relu()
    assert x.shape == (2, 3, 26, 26)
    x = first_norm(functional.max_pool2d(functional.conv2d(x, first.weight), 2)).relu()
    x = second_norm(functional.conv2d(x, second.weight)).relu()
    assert x.shape == (2, 5, 10, 10)
    expected = functional.linear(x.mean((2, 3)), last.weight, last.bias)
    torch.testing.assert_close(model(images), expected)


@pytest.mark.parametrize("separable", [False, True])
def test_tied_convolutions_are_counted_and_trained_once(separable):
    widths = [[3, 5, 5], [5]]
    model, free = (CompactNet(stem=3, widths=widths, tied=tied, separable=separable)
                   for tied in (True, False))  # fmt: skip
    square = 5 * 9 + 5 * 5 if separable else 5 * 5 * 9
    own, all_free = (sum(p.numel() for p in each.parameters()) for each in (model, free))
    assert all_free - own == square  # two of 5 to 5, where one counts; 3 to 3 is another
    tied, alone = ([each for each in net.network if isinstance(each, nn.Conv2d)]
                   for net in (model, free))  # fmt: skip
    step = 2 if separable else 1  # layers of a convolution
    assert all(a is b for a, b in zip(tied[-step:], tied[-2 * step : -step], strict=True))
    images = noise(4, 1, 28, 28)
    model(images).sum().backward()
    free.load_state_dict(model.state_dict())
    free(images).sum().backward()
    for shared, one, other in zip(
        tied[-step:], alone[-2 * step : -step], alone[-step:], strict=True
    ):
        torch.testing.assert_close(shared.weight.grad, one.weight.grad + other.weight.grad)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"early": "unshuffle", "image_size": 27}, "image_size=27 is odd"),
        ({"widths": [[4] * 6]}, "too small"),
        ({"image_size": 8}, "too small"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        CompactNet(**settings)

"""Residual networks: what a block computes."""

import torch
from torch.nn import functional

from mnist_lab.models import ResNet


def test_a_residual_block_adds_what_came_in():
    network = ResNet(widths=[2, 3], blocks=2).network.eval()
    wider, same = network[5], network[6]  # from 2 to 3, half the pixels; as many
    x = torch.rand(2, 2, 6, 6)
    norm = (1 + 1e-5) ** 0.5  # of untrained statistics
    changed = (functional.conv2d(x, wider.first.weight, stride=2, padding=1) / norm).relu()
    changed = functional.conv2d(changed, wider.second.weight, padding=1)
    kept = functional.conv2d(x, wider.shortcut[0].weight, stride=2)
    y = ((kept + changed) / norm).relu()
    torch.testing.assert_close(wider(x), y)
    changed = (functional.conv2d(y, same.first.weight, padding=1) / norm).relu()
    changed = functional.conv2d(changed, same.second.weight, padding=1) / norm
    torch.testing.assert_close(same(y), (y + changed).relu())

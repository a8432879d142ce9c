"""Confidence held against accuracy, beside torchmetrics' and by hand."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from mnist_lab.metrics.calibration import calibration


def test_calibration_error_is_that_of_torchmetrics():
    random = np.random.RandomState(0)
    table = random.dirichlet(np.full(5, 0.4), 2000)
    labels = random.randint(0, 5, 2000)
    labels[::2] = table[::2].argmax(1)
    for bins in (10, 15):
        expected = multiclass_calibration_error(
            torch.tensor(table), torch.tensor(labels), num_classes=5, n_bins=bins
        )
        measured = calibration(table, labels, bins)
        assert measured.error == pytest.approx(float(expected), abs=1e-6)
        assert measured.counts.sum() == 2000


def test_calibration_by_hand():
    table = np.array([[0.5, 0.5], [0.75, 0.25], [0.2, 0.8], [1.0, 0.0], [0.05, 0.95]])
    measured = calibration(table, [0, 1, 1, 0, 1], bins=4)
    # (0.25, 0.5], (0.5, 0.75], (0.75, 1]
    np.testing.assert_array_equal(measured.counts, [0, 1, 1, 3])
    np.testing.assert_allclose(measured.confidence, [np.nan, 0.5, 0.75, 2.75 / 3])
    np.testing.assert_allclose(measured.accuracy, [np.nan, 1, 0, 1])
    assert measured.error == pytest.approx((0.5 + 0.75 + 0.25) / 5)

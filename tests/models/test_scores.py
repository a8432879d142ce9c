"""Counts over batches, against scikit-learn's of all at once."""

import math

import numpy as np
import torch
from sklearn import metrics

from mnist_lab.models.scores import Scores


def test_batches_of_any_size_come_to_what_all_come_to_and_counting_begins_anew():
    generator = torch.Generator().manual_seed(0)
    scores = Scores(4)
    for count in (250, 90):
        logits = torch.randn(count, 4, generator=generator) * torch.tensor([3, 1, 1, 0.1])
        labels = torch.randint(0, 3, (count,), generator=generator)  # none of the last class
        for batch in zip(logits.split(77), labels.split(77), strict=True):
            scores.update(*batch)
        means, per_class, confusion = scores.compute()
        guesses, classes = logits.argmax(1), range(4)
        expected = metrics.precision_recall_fscore_support(
            labels, guesses, labels=classes, zero_division=0
        )
        for name, values in zip(("precision", "recall", "f1"), expected[:3], strict=True):
            np.testing.assert_allclose(per_class[name], values, rtol=1e-6)
            np.testing.assert_allclose(means[name], values.mean(), rtol=1e-6)
        matrix = metrics.confusion_matrix(labels, guesses, labels=classes)
        np.testing.assert_array_equal(confusion, matrix)
        loss = metrics.log_loss(labels, logits.double().softmax(1), labels=classes)
        np.testing.assert_allclose(means["loss"], loss, rtol=1e-5)
        np.testing.assert_allclose(means["accuracy"], np.trace(matrix) / count, rtol=1e-6)


def test_a_loss_that_is_no_number_is_told_as_none():
    scores = Scores(2)
    scores.update(torch.tensor([[0.0, math.nan]]), torch.tensor([0]))
    scores.update(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    assert math.isnan(scores.compute().means["loss"])

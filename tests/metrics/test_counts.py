"""Counts over batches, against scikit-learn's of all at once."""

import math
import warnings

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from torch.nn import functional

from mnist_lab.metrics import counts
from mnist_lab.metrics.counts import Counter
from mnist_lab.metrics.evaluation import Evaluation
from mnist_lab.settings.roles import MODES

CLASSES = 5
PAIRS = st.lists(st.tuples(*[st.integers(0, CLASSES - 1)] * 2), min_size=1, max_size=40)


@given(PAIRS)
def test_means_are_scikit_learns_whichever_classes_occur(pairs):
    truth, guesses = torch.tensor(pairs).T
    logits = functional.one_hot(guesses, CLASSES).float()
    counter = Counter(CLASSES)
    counter.update(logits, truth)
    scores = counter.compute()
    means, per_class = scores.means, scores.by_class
    found = Evaluation(logits.double().log_softmax(1), truth, list("abcde"))
    for name, of in (
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
        ("f1", metrics.f1_score),
    ):
        with warnings.catch_warnings(action="ignore"):  # of classes it gives 0
            expected = of(truth, guesses, average="macro")
            each = of(truth, guesses, average=None, labels=range(CLASSES))
        np.testing.assert_allclose(means[name], expected, rtol=1e-6)
        np.testing.assert_allclose(found.metrics[name], expected, rtol=1e-6)
        for index, by_class in enumerate(found.per_class.values()):
            if index in truth or index in guesses:
                np.testing.assert_allclose(per_class[name][index], each[index], rtol=1e-6)
                np.testing.assert_allclose(by_class[name], each[index], rtol=1e-6)
            else:  # neither 0 nor 1: nothing is known of it
                assert per_class[name][index].isnan()
                assert by_class[name] is None
    accuracy = metrics.accuracy_score(truth, guesses)
    np.testing.assert_allclose(means["accuracy"], accuracy, rtol=1e-6)


def test_all_right_is_one_though_most_classes_are_absent():
    counter = Counter(3)
    counter.update(torch.tensor([[1.0, 0, 0]]).expand(30, 3), torch.zeros(30).long())
    assert counter.compute().means["f1"] == 1


def test_batches_of_any_size_come_to_what_all_come_to_and_counting_begins_anew():
    generator = torch.Generator().manual_seed(0)
    counter = Counter(4)
    for count in (250, 90):
        logits = torch.randn(count, 4, generator=generator) * torch.tensor([3, 1, 1, 0.1])
        labels = torch.randint(0, 3, (count,), generator=generator)  # the last is predicted alone
        for batch in zip(logits.split(77), labels.split(77), strict=True):
            counter.update(*batch)
        scores = counter.compute()
        means, per_class = scores.means, scores.by_class
        guesses, classes = logits.argmax(1), range(4)
        expected = metrics.precision_recall_fscore_support(
            labels, guesses, labels=classes, zero_division=0
        )
        for name, values in zip(("precision", "recall", "f1"), expected[:3], strict=True):
            np.testing.assert_allclose(per_class[name], values, rtol=1e-6)
            np.testing.assert_allclose(means[name], values.mean(), rtol=1e-6)
        matrix = metrics.confusion_matrix(labels, guesses, labels=classes)
        np.testing.assert_array_equal(scores.confusion, matrix)
        loss = metrics.log_loss(labels, logits.double().softmax(1), labels=classes)
        np.testing.assert_allclose(means["loss"], loss, rtol=1e-5)
        np.testing.assert_allclose(means["accuracy"], np.trace(matrix) / count, rtol=1e-6)


def test_a_loss_that_is_no_number_is_told_as_none():
    counter = Counter(2)
    counter.update(torch.tensor([[0.0, math.nan]]), torch.tensor([0]))
    counter.update(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    assert math.isnan(counter.compute().means["loss"])


def test_a_new_metric_is_counted_in_training_and_in_an_evaluation_alike(monkeypatch):
    top2 = lambda logits, labels: (logits.topk(2).indices == labels[:, None]).any(1).sum()  # noqa: E731
    monkeypatch.setitem(counts.MEANS, "top2", top2)
    monkeypatch.setitem(counts.BY_CLASS, "jaccard", lambda hits, a, b: hits / (a + b - hits))
    logits = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(200) % 4
    counter = Counter(4)
    for batch in zip(logits.split(60), labels.split(60), strict=True):
        counter.update(*batch)
    evaluation = Evaluation(logits.double().log_softmax(1), labels, list("abcd"))
    for scores in (counter.compute(), evaluation.scores):
        expected = metrics.top_k_accuracy_score(labels, logits, k=2)
        np.testing.assert_allclose(scores.means["top2"], expected, rtol=1e-6)
        expected = metrics.jaccard_score(labels, logits.argmax(1), average="macro")
        np.testing.assert_allclose(scores.means["jaccard"], expected, rtol=1e-6)
    assert evaluation.metrics.keys() >= {"top2", "jaccard"}
    assert evaluation.per_class["a"].keys() >= {"jaccard"}


def test_of_every_metric_it_is_known_which_is_better():
    assert set(MODES) - {"corruption_error"} == set(counts.METRICS)  # of reports/corrupted.py
    assert list(Counter(2).compute().means) == list(counts.METRICS)

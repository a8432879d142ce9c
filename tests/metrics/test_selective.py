"""Mistakes by coverage, by hand and counted image by image."""

import numpy as np
import pytest

from mnist_lab.metrics.selective import risk_coverage

# Of two classes, the first predicted: right, right and wrong alike, right, wrong.
CONFIDENCE = np.array([0.5, 0.8, 0.9, 0.6, 0.8])
LABELS = np.array([1, 0, 0, 0, 1])


def two_classes(confidence):
    return np.column_stack([confidence, 1 - confidence])


def test_a_curve_by_hand():
    curve = risk_coverage(two_classes(CONFIDENCE), LABELS)
    np.testing.assert_array_equal(curve.confidence, [0.9, 0.8, 0.8, 0.6, 0.5])
    expected = [0, 0.5 / 2, 1 / 3, 1 / 4, 2 / 5]  # which of the two comes first, nobody knows
    np.testing.assert_allclose(curve.risk, expected)
    assert curve.area == pytest.approx(np.mean(expected))
    accuracies = [curve.accuracy(percent) for percent in (100, 81, 80, 20, 1)]
    assert accuracies == pytest.approx([3 / 5, 3 / 5, 3 / 4, 1, 1])
    wished = {0.6: 0.5, 0.61: 0.6, 0.75: 0.6, 0.76: 0.9, 1: 0.9}
    assert {each: curve.threshold(each) for each in wished} == wished


def test_where_the_surest_is_wrong_no_confidence_is_enough():
    assert risk_coverage(two_classes(CONFIDENCE), 1 - LABELS).threshold(0.99) is None


def test_risks_are_counted_image_by_image():
    random = np.random.RandomState(0)
    shares = random.dirichlet(np.full(5, 0.5), 400)
    labels = np.where(random.uniform(size=400) < shares.max(1), shares.argmax(1), 0)
    curve = risk_coverage(shares, labels)
    order = sorted(range(400), key=lambda image: -shares[image].max())
    wrong = [shares[image].argmax() != labels[image] for image in order]
    expected = [sum(wrong[: count + 1]) / (count + 1) for count in range(400)]
    np.testing.assert_allclose(curve.risk, expected)
    assert curve.accuracy(90) == pytest.approx(1 - expected[359])
    for accuracy in (0.8, 0.9, 0.95):
        least = curve.threshold(accuracy)
        sure = shares.max(1) >= least
        assert (shares.argmax(1) == labels)[sure].mean() >= accuracy
        lower = [c for c in shares.max(1) if c < least]
        assert all(
            (shares.argmax(1) == labels)[shares.max(1) >= each].mean() < accuracy for each in lower
        )


def test_the_order_of_the_images_does_not_matter():
    random = np.random.RandomState(0)
    confidence, labels = random.choice([0.6, 0.7, 0.9], 200), random.randint(0, 2, 200)
    curve = risk_coverage(two_classes(confidence), labels)
    order = random.permutation(200)
    again = risk_coverage(two_classes(confidence[order]), labels[order])
    np.testing.assert_array_equal(again.risk, curve.risk)
    # On the average over orders, each of equally sure ones is first as often.
    drawn = []
    for _ in range(2000):
        order = random.permutation(200)
        order = order[np.argsort(-confidence[order], kind="stable")]
        drawn.append(labels[order].cumsum() / np.arange(1, 201))
    np.testing.assert_allclose(curve.risk, np.mean(drawn, 0), atol=0.05)

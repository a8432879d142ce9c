"""Own and foreign images told apart, beside scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from mnist_lab.metrics.detection import detection


@pytest.mark.parametrize("digits", [9, 1, 0])  # after rounding many are the same
@pytest.mark.parametrize(("own", "foreign"), [(360, 1000), (37, 12), (1, 1), (100, 20)])
def test_figures_are_those_of_sklearn(own, foreign, digits):
    random = np.random.RandomState(own)
    inside, outside = random.randn(own) + 1, 1.5 * random.randn(foreign)
    scores = np.concatenate([inside, outside]).round(digits)
    truth = np.repeat([1, 0], [own, foreign])
    found = detection(scores[:own], scores[own:])
    assert found.auroc == pytest.approx(roc_auc_score(truth, scores), rel=1e-12)
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    expected = false[true >= 0.95 - 1e-12].min()
    assert found.false_positive_rate == pytest.approx(expected, rel=1e-12)


def test_by_hand():
    own = np.arange(20)
    assert detection(own, own - 20) == (1, 0)
    # All but the least of the own pass, and with them those from 1 on.
    assert detection(own, [0.0, 0.5, 1.0, 7.0]).false_positive_rate == 0.5

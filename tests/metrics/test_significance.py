"""Statistics: each against a published example or another implementation of the same."""

import numpy as np
import pytest
from scipy import stats

from mnist_lab.metrics import significance

# Student's own: hours of sleep gained by two drugs, in the same ten patients (Biometrika 6, 1908).
SLEEP = (
    [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
)
RNG = np.random.RandomState(0)
A, B = RNG.normal(0, 1, 7), RNG.normal(0.5, 3, 12)


def test_paired_gives_what_is_published_of_students_sleep_data():
    difference = significance.paired(*SLEEP)
    assert (difference.mean, difference.n, difference.freedom) == (pytest.approx(-1.58), 10, 9)
    assert difference.mean / difference.error == pytest.approx(-4.0621, abs=1e-4)
    assert difference.p == pytest.approx(0.002833, abs=1e-6)
    assert difference.interval() == pytest.approx((-2.4598858, -0.7001142), abs=1e-7)
    assert difference.paired


def test_welch_gives_what_is_published_of_students_sleep_data():
    difference = significance.welch(*SLEEP)
    assert difference.freedom == pytest.approx(17.776, abs=1e-3)
    assert difference.p == pytest.approx(0.07939, abs=1e-5)
    assert difference.interval() == pytest.approx((-3.3654832, 0.2054832), abs=1e-7)
    assert not difference.paired


@pytest.mark.parametrize("level", [0.05, 0.001])
def test_welch_agrees_with_scipy_where_sizes_and_variances_differ(level):
    difference, theirs = significance.welch(A, B), stats.ttest_ind(A, B, equal_var=False)
    assert (difference.p, difference.freedom) == pytest.approx((theirs.pvalue, theirs.df))
    assert difference.interval(level) == pytest.approx(tuple(theirs.confidence_interval(1 - level)))
    assert difference.n == 7


@pytest.mark.parametrize("sample", [A, B, [0.98, 0.99]])
def test_t_interval_agrees_with_scipy(sample):
    theirs = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    assert significance.t_interval(sample) == pytest.approx(tuple(theirs))


def test_there_is_no_interval_of_one_value():
    assert significance.t_interval([0.98]) is None
    paired, welch = significance.paired([0.98], [0.97]), significance.welch([0.98], [0.97, 0.96])
    for difference in (paired, welch):
        assert (difference.p, difference.interval(), difference.smallest()) == (None, None, None)


def test_what_32_bit_numbers_round_off_is_no_spread():
    # 316 and 317 of 360 right, 315 and 316: exactly one image of difference each time.
    one = np.array([316, 317], dtype=np.float32) / np.float32(360)
    other = np.array([315, 316], dtype=np.float32) / np.float32(360)
    difference = significance.paired(one, other)
    assert difference.mean == pytest.approx(1 / 360, abs=1e-7)
    assert difference.p is None
    assert significance.welch([0.5, 0.5], [0.25, 0.25]).p is None


@pytest.mark.parametrize("freedom", [2, 4, 9, 17.3, 200])
@pytest.mark.parametrize("level", [0.05, 0.05 / 45])
def test_smallest_difference_has_a_power_of_80_percent_by_scipys_noncentral_t(freedom, level):
    smallest = significance.Difference(0, 5, True, 1.0, freedom).smallest(level)
    bound = stats.t.ppf(1 - level / 2, freedom)
    assert stats.nct.sf(bound, freedom, smallest) == pytest.approx(0.8, abs=1e-4)


def test_smallest_difference_is_found_4_times_in_5():
    rng = np.random.RandomState(1)
    smallest = significance.Difference(0, 2, True, 1 / np.sqrt(2), 1).smallest()
    samples = rng.normal(smallest, 1, (20000, 2))
    shown = np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05)
    assert shown == pytest.approx(0.8, abs=0.01)


def test_smallest_difference_ends_where_a_thousand_tests_share_two_seeds():
    assert significance.Difference(0, 2, True, 1.0, 1).smallest(5e-8) > 1e6


def test_holm_gives_what_is_published():
    # R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert significance.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.holm([0.7, None, 0.6]) == [1, None, 1]
    assert significance.holm([]) == []


@pytest.mark.parametrize("alone", [(0, 0), (1, 8), (5, 5), (13, 2), (0, 4), (400, 520)])
def test_mcnemar_is_the_exact_binomial_test_of_discordant_pairs(alone):
    expected = stats.binomtest(alone[0], sum(alone)).pvalue if sum(alone) else 1
    assert significance.mcnemar(*alone) == pytest.approx(expected)


@pytest.mark.parametrize("successes", [0, 1, 50, 98, 100])
def test_wilson_agrees_with_scipy(successes):
    theirs = stats.binomtest(successes, 100).proportion_ci(method="wilson")
    assert significance.wilson(successes, 100) == pytest.approx(
        (theirs.low, theirs.high), abs=1e-12
    )


def test_of_no_images_wilson_says_nothing():
    assert significance.wilson(0, 0) == (0, 1)

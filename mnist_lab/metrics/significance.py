"""What repeated runs can say: intervals, differences, corrections. Arrays in, numbers out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

LEVEL = 0.05
"""Of significance; intervals have a confidence of one minus it."""

POWER = 0.8
_ROUNDING = 1e-6  # relative, of values that were 32-bit numbers: a spread below it is none


class Interval(NamedTuple):
    """Where a quantity lies, with 95 % confidence unless said otherwise."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Of two means, first minus second.

    Attributes:
        n: pairs, or values of the smaller sample.
        paired: whether first and second were compared pair by pair.
        error: of the mean, its standard error; None where there is no spread to judge by.
        freedom: degrees of freedom of the t distribution.
    """

    mean: float
    n: int
    paired: bool
    error: float | None
    freedom: float

    @property
    def p(self) -> float | None:
        """Of a difference this large, up or down, if there were none; None without spread."""
        if self.error is None:
            return None
        return 2 * float(special.stdtr(self.freedom, -abs(self.mean) / self.error))

    def interval(self, level: float = LEVEL) -> Interval | None:
        """Student's interval; None without spread."""
        if self.error is None:
            return None
        half = _t_quantile(self.freedom, level) * self.error
        return Interval(self.mean - half, self.mean + half)

    def smallest(self, level: float = LEVEL) -> float | None:
        """The true difference that as many values with such a spread show 4 times in 5.

        It is that of a two-sided t-test at this level; None without spread.
        """
        if self.error is None:
            return None
        return self.error * _noncentrality(self.freedom, level)


def t_interval(values: ArrayLike, folds: int | None = None) -> Interval | None:
    """Student's interval of the mean of a normal sample; None for a single value.

    Args:
        folds: into how many the images were divided, of which each value is one. What was trained
            for them shares images, so the mean of J values has more than a J-th of their variance:
            `1 / J + held out / trained on` of it (Nadeau and Bengio, Machine Learning 52, 2003).
    """
    band = t_band(np.asarray(values)[:, None], folds)
    return None if band is None else Interval(*map(float, band[:, 0]))


def t_band(values: ArrayLike, folds: int | None = None) -> NDArray[np.float64] | None:
    """Likewise of several quantities at once: ends `(2, k)` for samples `(n, k)`."""
    samples = np.asarray(values, dtype=float)
    n = len(samples)
    if n < 2:
        return None
    half = _t_quantile(n - 1, LEVEL) * np.sqrt(_variance_of_mean(samples, folds))
    return np.stack([samples.mean(0) - half, samples.mean(0) + half])


def paired(first: ArrayLike, second: ArrayLike, folds: int | None = None) -> Difference:
    """Student's comparison of paired samples `(n,)`; `folds` as of `t_interval`."""
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    n = len(differences)
    variance = float(_variance_of_mean(differences, folds)) if n > 1 else 0.0
    error = _beyond_rounding(variance, first, second)
    return Difference(float(differences.mean()), n, True, error, n - 1)


def welch(first: ArrayLike, second: ArrayLike, folds: int | None = None) -> Difference:
    """Welch's comparison of independent samples of unequal variance (Biometrika 34, 1947).

    `folds` as of `t_interval`.
    """
    samples = [np.asarray(sample, dtype=float) for sample in (first, second)]
    mean = float(samples[0].mean() - samples[1].mean())
    sizes = np.array([len(sample) for sample in samples])
    if sizes.min() < 2:
        return Difference(mean, int(sizes.min()), False, None, 0.0)
    variances = np.array([_variance_of_mean(sample, folds) for sample in samples])
    weight = (variances**2 / (sizes - 1)).sum()
    freedom = float(variances.sum() ** 2 / weight) if weight else 0.0
    error = _beyond_rounding(variances.sum(), *samples)
    return Difference(mean, int(sizes.min()), False, error, freedom)


def _variance_of_mean(sample: NDArray[np.float64], folds: int | None) -> NDArray[np.float64]:
    """Of samples `(n, ...)`, that of the mean of each."""
    shared = 0.0 if folds is None else 1 / (folds - 1)
    return np.asarray(sample.var(0, ddof=1) * (1 / len(sample) + shared))


def _beyond_rounding(variance: float, *samples: ArrayLike) -> float | None:
    """The standard error of this variance; None where rounding alone could make it."""
    error, largest = float(np.sqrt(variance)), max(np.abs(sample).max() for sample in samples)
    return error if error > _ROUNDING * largest else None


def average(differences: Sequence[Difference]) -> Difference:
    """Of independent differences; degrees of freedom by Satterthwaite (Biometrics 2, 1946)."""
    mean = float(np.mean([difference.mean for difference in differences]))
    n = min(difference.n for difference in differences)
    pairwise = all(difference.paired for difference in differences)
    errors = [difference.error for difference in differences]
    if None in errors:
        return Difference(mean, n, pairwise, None, 0.0)
    variances = np.array(errors, dtype=float) ** 2
    weight = (variances**2 / [difference.freedom for difference in differences]).sum()
    error = float(np.sqrt(variances.sum())) / len(differences)
    return Difference(mean, n, pairwise, error, float(variances.sum() ** 2 / weight))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """The p-values of a family of tests, corrected (Holm, Scand. J. Statist. 6, 1979).

    None stands for what was not tested, and is not counted.
    """
    tested = sorted((value, place) for place, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, place) in enumerate(tested):
        highest = max(highest, min(1.0, value * (len(tested) - rank)))
        corrected[place] = highest
    return corrected


def mcnemar(first_alone: int, second_alone: int) -> float:
    """McNemar's exact test: p of so unequal a division of what one of two got right alone."""
    total = first_alone + second_alone
    return min(1.0, 2 * float(special.bdtr(min(first_alone, second_alone), total, 0.5)))


def wilson(successes: float, n: int) -> Interval:
    """Wilson's score interval of a proportion (J. Am. Stat. Assoc. 22, 1927); of none, all."""
    if n == 0:
        return Interval(0.0, 1.0)
    z = float(special.ndtri(1 - LEVEL / 2))
    share = successes / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Interval(max(0.0, float(middle - half)), min(1.0, float(middle + half)))


def _t_quantile(freedom: float, level: float) -> float:
    return float(special.stdtrit(freedom, 1 - level / 2))


def _noncentrality(freedom: float, level: float) -> float:
    """Of the t distribution that exceeds the two-sided test's bound with probability `POWER`.

    A noncentral t is a normal variable of this mean over a chi one: the power is integrated over
    the quantiles of the latter. (scipy's inverse doesn't return for few degrees of freedom.) A
    significant difference of the wrong sign, with a probability below 1e-4, isn't counted.
    """
    nodes, weights = special.roots_legendre(200)
    chi = np.sqrt(special.chdtri(freedom, (1 - nodes) / 2) / freedom)
    bounds = _t_quantile(freedom, level) * chi
    low, high = 0.0, float(bounds.max()) + 10
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        power = weights @ special.ndtr(middle - bounds) / 2
        low, high = (low, middle) if power > POWER else (middle, high)
    return high

"""What repeated runs can say: intervals, differences, corrections. Arrays in, numbers out."""

import functools
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


class Extremes(NamedTuple):
    """The columns with the highest and the lowest mean, and their difference.

    `p` is that of one test among all pairs, as any two could have been the extremes (Bonferroni).
    """

    best: int
    worst: int
    difference: Difference
    p: float | None


def t_interval(values: ArrayLike) -> Interval | None:
    """Student's interval of the mean of a normal sample; None for a single value."""
    sample = np.asarray(values, dtype=float)
    n = len(sample)
    if n < 2:
        return None
    half = _t_quantile(n - 1, LEVEL) * sample.std(ddof=1) / np.sqrt(n)
    return Interval(float(sample.mean() - half), float(sample.mean() + half))


def paired(first: ArrayLike, second: ArrayLike) -> Difference:
    """Student's comparison of paired samples `(n,)`."""
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    n = len(differences)
    error = float(differences.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    return _difference(differences.mean(), n, error, n - 1, first, second, paired=True)


def welch(first: ArrayLike, second: ArrayLike) -> Difference:
    """Welch's comparison of independent samples of unequal variance (Biometrika 34, 1947)."""
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    mean, n = one.mean() - other.mean(), min(len(one), len(other))
    if n < 2:
        return _difference(mean, n, 0.0, 0, one, other, paired=False)
    parts = np.array([one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)])
    weights = (parts**2 / [len(one) - 1, len(other) - 1]).sum()
    freedom = parts.sum() ** 2 / weights if weights else 0.0
    return _difference(mean, n, np.sqrt(parts.sum()), freedom, one, other, paired=False)


def average(differences: Sequence[Difference]) -> Difference:
    """Of independent differences; degrees of freedom by Satterthwaite (Biometrics 2, 1946)."""
    mean = float(np.mean([each.mean for each in differences]))
    n, pairwise = min(each.n for each in differences), all(each.paired for each in differences)
    errors = [each.error for each in differences]
    if None in errors:
        return Difference(mean, n, pairwise, None, 0.0)
    variances = np.array(errors, dtype=float) ** 2
    freedom = variances.sum() ** 2 / (variances**2 / [each.freedom for each in differences]).sum()
    error = float(np.sqrt(variances.sum())) / len(differences)
    return Difference(mean, n, pairwise, error, float(freedom))


def holm(p: Sequence[float]) -> NDArray[np.float64]:
    """The p-values of a family of tests, corrected (Holm, Scand. J. Statist. 6, 1979)."""
    values = np.asarray(p, dtype=float)
    order = np.argsort(values)
    corrected = np.empty_like(values)
    factors = np.arange(len(values), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(values[order] * factors))
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


def extremes(values: ArrayLike) -> Extremes:
    """The extreme columns of `(runs, K)`, compared run by run."""
    table = np.asarray(values, dtype=float)
    means = table.mean(0)
    best, worst = int(means.argmax()), int(means.argmin())
    found = paired(table[:, best], table[:, worst])
    pairs = table.shape[1] * (table.shape[1] - 1) // 2
    return Extremes(best, worst, found, None if found.p is None else min(1.0, found.p * pairs))


def _difference(
    mean: float, n: int, error: float, freedom: float, *samples: ArrayLike, paired: bool
) -> Difference:
    scale = max(float(np.abs(sample).max()) for sample in samples)
    spread = float(error) if error > _ROUNDING * scale else None
    return Difference(float(mean), n, paired, spread, float(freedom))


@functools.lru_cache(4096)
def _t_quantile(freedom: float, level: float) -> float:
    return float(special.stdtrit(freedom, 1 - level / 2))


@functools.lru_cache(4096)
def _noncentrality(freedom: float, level: float) -> float:
    """Of the t distribution that exceeds the two-sided test's bound with probability `POWER`.

    A noncentral t is a normal variable of this mean over a chi one: the power is integrated over
    the quantiles of the latter. (scipy's inverse doesn't return for few degrees of freedom.) A
    significant difference of the wrong sign, with a probability below 1e-4, isn't counted.
    """
    nodes, weights = _nodes()
    chi = np.sqrt(special.chdtri(freedom, (1 - nodes) / 2) / freedom)
    bounds = _t_quantile(freedom, level) * chi
    low, high = 0.0, float(bounds.max()) + 10
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        power = float(weights @ special.ndtr(middle - bounds)) / 2
        low, high = (low, middle) if power > POWER else (middle, high)
    return high


@functools.cache
def _nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return nodes, weights

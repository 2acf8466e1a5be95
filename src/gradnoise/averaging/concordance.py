"""Does a quantity rise with temperature? Kendall's score over seeds with its exact law, and the fit of a rising curve."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import optimize

from gradnoise.averaging.seed_table import Row, Table, run_spread

NUM_DRAWS = 4000


@dataclass(frozen=True)
class Concordance:
    """Kendall's tau of values with temperature, over all seeds; see `concordance`."""

    tau: float
    p_rising: float
    """Of a score at least as high where temperature plays no part; exact."""
    p_falling: float


@dataclass(frozen=True, eq=False)
class RisingFit:
    """The best rising curve through the means and whether they leave it; see `rising_fit`."""

    value: Float[np.ndarray, "row"]
    distance: float
    """Weighted sum of squares between means and curve, in the variance of a mean."""
    p: float
    """Of a distance as large, where the true curve rises or is flat: an upper bound, taken at the flat curve."""


def concordance(table: Table) -> Concordance:
    """tau = sum over seeds and pairs of rows of sign(later row - earlier row) / (number of pairs), and its exact p-values.

    `table` (row, seed) has rows of different temperature in rising order. If temperature plays no part, the rows of each
    seed are equally likely in any order, whatever the seed does to all of them, and seeds are independent: the score's law
    is a product of laws of the number of inversions, one a seed, with the generating function

        prod_seeds prod_{i=1..k} (1 + q + ... + q^(i-1)) / i

    Equal values count against either direction.

    >>> concordance(np.array([[1.0, 1.5], [2.0, 1.0], [3.0, 4.0]]))            # 5 of 6 pairs rise
    Concordance(tau=0.667, p_rising=0.139, p_falling=0.972)

    Source: Kendall 1938, "A new measure of rank correlation".
    """
    rows, seeds = table.shape
    later, earlier = np.tril_indices(rows, -1)
    change = table[later] - table[earlier]
    rises, falls = int((change > 0).sum()), int((change < 0).sum())
    law = inversion_law(rows, seeds)
    tails = np.cumsum(law[::-1])[::-1]  # of at least so many; the law is symmetric
    return Concordance((rises - falls) / change.size, *(min(float(tails[n]), 1.0) for n in (rises, falls)))


def inversion_law(num_rows: int, num_seeds: int) -> Float[np.ndarray, "inversions"]:
    """Probability of 0, 1, ... inversions in `num_seeds` independent random orders of `num_rows` rows.

    >>> (inversion_law(3, 1) * 6).round().tolist()
    [1.0, 2.0, 2.0, 1.0]
    """
    law = np.ones(1)
    for _ in range(num_seeds):
        for i in range(2, num_rows + 1):
            law = np.convolve(law, np.full(i, 1 / i))
    return law


def rising_fit(temperature: Row, table: Table, seed: int = 0) -> RisingFit:
    """Isotonic regression of the means over seeds, and a test that the truth may rise everywhere.

    Weights are S / sd^2, sd the spread of a run (`run_spread`). The distance is compared with 4000 draws of flat truth,
    whose means have the same sd and are divided by a variance of as many degrees of freedom, (S - 1)(k - 1): no rising
    truth gives a larger one.

    Source: Robertson, Wright, Dykstra 1988, "Order Restricted Statistical Inference", section 2.3.
    """
    rows, seeds = table.shape
    weights = seeds / np.square(run_spread(temperature, table))
    means = table.mean(axis=1)
    fitted = _isotonic(means, weights)
    distance = float((weights * np.square(means - fitted)).sum())
    random, freedom = np.random.default_rng(seed), (seeds - 1) * (rows - 1)
    flat = random.normal(size=(NUM_DRAWS, rows)) / np.sqrt(weights)
    drawn = np.array([(weights * np.square(row - _isotonic(row, weights))).sum() for row in flat])
    drawn /= random.chisquare(freedom, NUM_DRAWS) / freedom
    return RisingFit(fitted, distance, float((1 + np.sum(drawn >= distance)) / (1 + NUM_DRAWS)))


def _isotonic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return optimize.isotonic_regression(values, weights=weights).x

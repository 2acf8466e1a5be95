"""What the noise of an architecture amounts to: rank and spread of its spectrum, and the temperature at which to train."""

from typing import NamedTuple

import numpy as np

from gradnoise import _checks
from gradnoise._signal_noise import noise_fraction
from gradnoise.estimate import Estimate
from gradnoise.measure.spectrum import NoiseSpectrum

DTYPES = ("float64", "float32")


class ArchitectureScore(NamedTuple):
    """Rank and spread of a noise spectrum, apart; see `architecture_score`."""

    rank: int
    """Eigenvalues above `rank_threshold`; from Lanczos a lower bound."""
    rank_threshold: float
    """largest eigenvalue * P * eps of `dtype`."""
    dtype: str
    rank_fraction: float
    """rank / P."""
    variance: Estimate
    """Variance of all P eigenvalues, zeros included; gradient^4."""
    normalized_variance: Estimate
    """variance / mean^2 = P / participation ratio - 1; no units."""


def architecture_score(spectrum: NoiseSpectrum, dtype: str = "float64") -> ArchitectureScore:
    """The two parts of the score rank(D)/P + var(lambda(D)), and var/mean^2 in place of the second.

    The paper adds the two. The sum has no meaning across models: the first part is a number, the second has the units of
    gradient^4, so that measuring the loss in bits rather than nats weighs them otherwise. `dtype` sets the threshold of
    the rank, largest eigenvalue * P * eps: eps is 2.2e-16 for "float64" and 1.2e-7 for "float32", which count different
    ranks of the same spectrum; the gradients are float64 in either case. Errors are those of the spectrum.

    >>> import gradnoise as gn
    >>> pool = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1e-4], [0.0, -1e-4]])
    >>> problem = gn.from_arrays(lambda w, x: w @ x, lambda key: np.zeros(2), pool)
    >>> spectrum = gn.noise_spectrum(problem, np.zeros(2))
    >>> [architecture_score(spectrum, dtype).rank for dtype in ("float64", "float32")]
    [2, 1]

    Raises ValueError for another dtype.

    Source: Chaudhari and Soatto 2018, section 4 (printed as a sum); docs/theory/spectra.md.
    """
    _checks.one_of("dtype", dtype, DTYPES)
    largest, size = float(spectrum.eigenvalues[0]), spectrum.num_parameters
    threshold = largest * size * float(np.finfo(dtype).eps)
    rank = int(np.sum(spectrum.eigenvalues > threshold))
    spread, ratio = spectrum.spread, spectrum.participation_ratio
    variance = Estimate(spread.value**2, 2 * spread.value * spread.stderr, spread.num_samples)
    noisy = ratio.value > 0
    normalized = size / ratio.value - 1 if noisy else np.nan
    error = size * ratio.stderr / ratio.value**2 if noisy else np.nan
    return ArchitectureScore(
        rank, threshold, dtype, rank / size, variance, Estimate(normalized, error, ratio.num_samples)
    )


def spectral_temperature(
    learning_rate: float, batch_size: int, mean_eigenvalue: float | Estimate, num_examples: int | None = None
) -> Estimate:
    """The temperature of the noise, (eta/(2b)) mean lambda(D), in units of the loss.

        (eta/(2b)) mean lambda(D) (N - b)/(N - 1)      for batches of b distinct ones of N = num_examples

    `mean_eigenvalue` = tr D / P with the divisor N in D: `noise_spectrum(...).mean`. The paper's factor 1 - b/N is right
    with S2 = D N/(N - 1). The error is that of the mean eigenvalue.

    >>> spectral_temperature(0.1, 8, 4.0).value.item()
    0.025

    Raises ValueError for a batch larger than num_examples, and what is not positive.

    Source: Chaudhari and Soatto 2018, (14) and remark 12; docs/theory/errata_variational.md.
    """
    factor = _checks.number("learning_rate", learning_rate, above=0) * _per_rate("batch_size", batch_size, num_examples)
    mean = _positive("mean_eigenvalue", mean_eigenvalue)
    return Estimate(factor * mean.value, factor * mean.stderr, mean.num_samples)


def temperature_rule(
    learning_rate: float,
    batch_size: int,
    mean_eigenvalue: float | Estimate,
    new_batch_size: int,
    new_mean_eigenvalue: float | Estimate,
    num_examples: int | None = None,
) -> Estimate:
    """The learning rate that keeps (eta/b) mean lambda(D) when batch size or architecture change.

        eta' = eta (b'/b) (mean lambda(D) / mean lambda(D')) [(N - b)/(N - b')]

    The bracket is there for batches of distinct ones of N = `num_examples`. Both mean eigenvalues should be taken at like
    places of training, along which D changes. The error adds those of the two, taken as independent.
    A rule of thumb: nothing says that two networks at one temperature train alike, nor that eta' is stable (it should
    stay below 2/lambda_max of the hessian).

    >>> temperature_rule(0.1, 32, 4.0, 64, 2.0).value.item()            # twice the batch, half the noise
    0.4

    Raises ValueError for a batch larger than num_examples or new batch not smaller, and what is not positive.

    Source: Chaudhari and Soatto 2018, (14); docs/theory/spectra.md.
    """
    before, after = _positive("mean_eigenvalue", mean_eigenvalue), _positive("new_mean_eigenvalue", new_mean_eigenvalue)
    wanted = spectral_temperature(learning_rate, batch_size, before.value, num_examples).value
    per_rate = _per_rate("new_batch_size", new_batch_size, num_examples)
    if per_rate == 0:
        raise ValueError(
            f"new_batch_size={new_batch_size} is the whole training set, whose gradient has no noise. Give a smaller one."
        )
    rate = wanted / (per_rate * after.value)
    relative = np.hypot(before.stderr / before.value, after.stderr / after.value)
    return Estimate(rate, rate * relative, min(before.num_samples, after.num_samples))


def _per_rate(name: str, batch_size: int, num_examples: int | None) -> float:
    """Temperature over learning rate and mean eigenvalue."""
    batch = _checks.integer(name, batch_size)
    if num_examples is None:
        return 1 / (2 * batch)
    count = _checks.integer("num_examples", num_examples, 2)
    if batch > count:
        raise ValueError(f"{name}={batch} exceeds num_examples={count}, and each is used once. Give a smaller batch.")
    return noise_fraction(count, batch) / (2 * batch)


def _positive(name: str, mean: float | Estimate) -> Estimate:
    found = mean if isinstance(mean, Estimate) else Estimate(mean, 0.0, 1)
    _checks.number(name, found.value, above=0)
    return found

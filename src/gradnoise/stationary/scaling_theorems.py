"""Where the SDE and the linear scaling rule must fail for a scale-invariant loss at equilibrium: four theorems."""

from typing import NamedTuple

from gradnoise import _checks
from gradnoise.estimate import Estimate
from gradnoise.stationary.linear_scaling import critical_batch

ASSUMES = (
    "loss scale-invariant in the weights that R counts, weight decay coupled, no momentum, run stationary, eta wd << 1"
)


class TheoremVerdict(NamedTuple):
    """What a theorem says of a measured ratio. `must_fail`: the whole interval is on the failing side of `threshold`.

    Where it is False nothing is promised. `about`: what must fail; `assumes`: on which conditions.
    """

    name: str
    quantity: str
    ratio: Estimate
    low: float
    high: float
    threshold: float
    must_fail: bool
    about: str
    assumes: str


def sde_must_differ(
    G: float | Estimate, N: float | Estimate, closeness: float = 2**0.5, level: float = 0.95, *, covariance: float = 0.0
) -> TheoremVerdict:
    """Theorem 5.2: SGD and its SDE are not C-close if N/G < 1/(C^2 - 1), G and N along SGD.

    Along the SDE the same reads eta > (Nbar/Gbar)(C^2 - 1) with Nbar = E tr(eta Sigma), that is N/G < 1/(C^2 - 1) with N
    of one batch again: give either run's averages. The interval of N/G is that of `critical_batch`.

    >>> sde_must_differ(G=1.0, N=0.5, closeness=2**0.5).must_fail          # 1/(C^2 - 1) = 1
    True

    Source: Li, Malladi, Arora 2021, theorem 5.2.
    """
    closeness = _checks.number("closeness", closeness, above=1.0)
    about = f"C-closeness (8) of SGD and its SDE for C = {closeness:.4g}"
    return _low_noise("theorem 5.2", G, N, 1 / (closeness**2 - 1), about, level, covariance)


def scaled_run_must_differ(
    G: float | Estimate,
    N: float | Estimate,
    kappa: float,
    closeness: float = 2**0.5,
    level: float = 0.95,
    *,
    covariance: float = 0.0,
) -> TheoremVerdict:
    """Theorem 5.5: no (C, kappa)-invariance if N'/G' < (1 - 1/kappa)/(C^2 - 1) - 1/kappa, of the SCALED run alone.

    The threshold equals (kappa - C^2)/(kappa (C^2 - 1)). No baseline is needed: a run at a large batch tells that it is
    not what its small-batch original was, kappa times below in learning rate and batch.

    >>> found = scaled_run_must_differ(G=1.0, N=0.5, kappa=8, closeness=2**0.5)
    >>> found.threshold, found.must_fail
    (0.75, True)

    Source: Li, Malladi, Arora 2021, theorem 5.5.
    """
    closeness = _checks.number("closeness", closeness, above=1.0)
    kappa = _checks.number("kappa", kappa, above=1.0)
    threshold = (kappa - closeness**2) / (kappa * (closeness**2 - 1))
    about = f"(C, kappa)-invariance (13) for C = {closeness:.4g}, kappa = {kappa:.4g}"
    return _low_noise("theorem 5.5", G, N, threshold, about, level, covariance)


def scaling_up_must_fail(
    G: float | Estimate,
    N: float | Estimate,
    kappa: float,
    closeness: float = 2**0.5,
    form: str = "sharp",
    level: float = 0.95,
    *,
    covariance: float = 0.0,
) -> TheoremVerdict:
    """Theorem 5.6, of the BASELINE run: no (C, kappa)-invariance if kappa is above a bound that grows with N/G.

        printed  kappa > C^2 (1 + N/G)        sharp  kappa > C^2 + (C^2 - 1) N/G

    `sharp` is the same proof without slack, and attained by the angle toy of `testbeds`. The bound is
    `critical_batch` over the batch size; `ratio` is N/G and `threshold` the N/G at which kappa is the bound.

    >>> [scaling_up_must_fail(1.0, 4.0, 8, form=form).must_fail for form in ("printed", "sharp")]     # 10 and 6
    [False, True]

    Source: Li, Malladi, Arora 2021, theorem 5.6; the sharp form is ours (docs/theory/errata.md row 16).
    """
    closeness = _checks.number("closeness", closeness, above=1.0)
    kappa, form = _checks.number("kappa", kappa, above=1.0), _checks.one_of("form", form, ("printed", "sharp"))
    square = closeness**2
    threshold = kappa / square - 1 if form == "printed" else (kappa - square) / (square - 1)
    about = f"(C, kappa)-invariance (13) for C = {closeness:.4g}, kappa = {kappa:.4g}"
    return _low_noise(f"theorem 5.6 ({form})", G, N, threshold, about, level, covariance)


def _low_noise(
    name: str, G: float | Estimate, N: float | Estimate, threshold: float, about: str, level: float, covariance: float
) -> TheoremVerdict:
    """All four theorems have the form: must fail if N/G is below a threshold."""
    critical = critical_batch(G, N, 1, 2.0, covariance=covariance)
    low, high = (end / 4 for end in critical.interval("approximate", level))  # that form is C^2 B N/G
    approximate = critical.approximate
    ratio = Estimate(approximate.value / 4, approximate.stderr / 4, approximate.num_samples)
    return TheoremVerdict(name, "N/G", ratio, low, high, threshold, high < threshold, about, ASSUMES)

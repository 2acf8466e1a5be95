"""Fluctuation-dissipation identities of SGD as tests of stationarity: both sides over a run, ratio and interval.

A stationary run has E phi(theta_{t+1}) = E phi(theta_t) for every function phi. With force s = grad U + weight_decay
theta, step noise of covariance eta T M (T = eta/B, M = D + injected_noise^2 I with replacement), H the hessian of phi:

    continuous    <grad phi.s> = (T/2) <tr(H M)>
    discrete      <grad phi.s> = (T/2) <tr(H M)> + (eta/2) <s.H s>        exact for quadratic phi, whatever the loss

`dynamics.fluctuation_records` makes a run record what these functions ask for.

Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eqs (32)-(39).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.bootstrap import RatioOfMeans, ratio_of_means, time_averages
from gradnoise.estimate import Estimate
from gradnoise.stationary.averages import in_window

Series = Float[np.ndarray, "replica record"]


class Balance(NamedTuple):
    """One identity, in one form, over a window."""

    left: Estimate
    right: Estimate
    ratio: RatioOfMeans
    """left/right with its interval: 1 is inside if the run obeys the identity."""
    conclusion: str
    """"agrees", "differs: ..." or "cannot tell: ..."."""


class FluctuationDissipation(NamedTuple):
    """An identity in both forms; see `norm_identity`, `direction_identity`, `loss_identity`."""

    continuous: Balance
    """The diffusion's: off by order learning_rate times curvature in a stationary run."""
    discrete: Balance | None
    """SGD's own; None with momentum where no series of the velocity came."""


def norm_identity(
    position_force: ArrayLike,
    noise_trace: ArrayLike,
    force_squared: ArrayLike,
    learning_rate: float,
    batch_size: int,
    *,
    momentum: float = 0.0,
    velocity_force: ArrayLike | None = None,
    window: tuple[int, int] | None = None,
    every: int = 1,
    level: float = 0.95,
) -> FluctuationDissipation:
    """phi = |theta - o|^2, the trace of (35), of a run's series of (theta - o).s, tr M and |s|^2; any loss.

        continuous    2 (1 - mu) <(theta - o).s> = T <tr M>                                       T = eta/B
        discrete      2 (1 - mu) <(theta - o).s> = T <tr M> + eta <|s|^2> + 2 mu eta <v.s>

    The discrete form is exact for SGD, and with momentum mu for PyTorch's heavy ball (v <- mu v + g, theta <- theta -
    eta v; no dampening, not nesterov); `velocity_force` is the series of v.s, v before the step. The point o does not matter
    for the mean, only for the error. Series (record,) or (replica, record), recorded every `every` steps; `window` in
    steps; intervals are `bootstrap.ratio_of_means`'. As a test of stationarity its false alarms are those of these
    intervals (docs/theory/trajectories.md); a run whose slowest motion lies outside what the series show looks
    stationary.

    >>> noise = 0.1 * np.random.default_rng(0).normal(size=(3, 1000))
    >>> found = norm_identity(1.6 + noise[0], 8 + noise[1], 4 + noise[2], learning_rate=0.4, batch_size=2)
    >>> found.discrete.conclusion, found.continuous.conclusion[:16]             # 3.2 = 1.6 + 1.6, and 1.6 alone
    ('agrees', 'differs: left is')

    Raises ValueError for series that differ in shape, a window outside the records, learning_rate not positive, momentum
    outside [0, 1), a level outside (0, 1).

    Source: Gomez-Uribe, eqs (32), (35); discrete and momentum forms: docs/theory/trajectories.md.
    """
    series = {"position_force": position_force, "noise_trace": noise_trace, "force_squared": force_squared}
    if velocity_force is not None:
        series["velocity_force"] = velocity_force
    work, noise, step, *velocity = in_window(series, window, every)
    return _both_forms(work, noise, step, velocity[0] if velocity else None, learning_rate, batch_size, momentum, level)


def direction_identity(
    position: ArrayLike,
    force: ArrayLike,
    noise: ArrayLike,
    learning_rate: float,
    batch_size: int,
    *,
    momentum: float = 0.0,
    window: tuple[int, int] | None = None,
    every: int = 1,
    level: float = 0.95,
) -> FluctuationDissipation:
    """(35) along a direction w, phi = (w.(theta - <theta>))^2, of a run's series of w.theta, w.s and w.M w; any loss.

        continuous    2 (1 - mu) <w.(theta - <theta>) w.s> = T <w.M w>
        discrete      2 (1 - mu) <w.(theta - <theta>) w.s> = T <w.M w> + eta <(w.s)^2> + 2 mu eta <w.v w.s>

    <theta> is the mean over the window and all replicas; that it is estimated lowers the left side by one part in the
    number of autocorrelation times. With momentum (as in `norm_identity`) the velocity v_t = (theta_{t-1} - theta_t)/eta
    comes from records of every step, or else there is no discrete form. The rest as in `norm_identity`.

    >>> t = np.arange(1000)
    >>> found = direction_identity(np.cos(t), np.cos(t), np.ones(1000), learning_rate=0.1, batch_size=1)
    >>> found.continuous.left.value.round(2).item(), found.continuous.right.value.item()         # 2 <cos^2> and 0.1
    (1.0, 0.1)

    Raises what `norm_identity` raises.

    Source: Gomez-Uribe, eq (35); discrete and momentum forms: docs/theory/trajectories.md.
    """
    given = {"position": position, "force": force, "noise": noise}
    places, pulls, spreads = in_window(given, window, every)
    rate = _checks.number("learning_rate", learning_rate, above=0.0)
    velocity_work = None
    if momentum and every == 1:
        velocity_work = -np.diff(places, axis=1) / rate * pulls[:, 1:]
        places, pulls, spreads = places[:, 1:], pulls[:, 1:], spreads[:, 1:]
    work, step = (places - places.mean()) * pulls, np.square(pulls)
    return _both_forms(work, spreads, step, velocity_work, rate, batch_size, momentum, level)


def loss_identity(
    gradient_force: ArrayLike,
    curvature_noise: ArrayLike,
    force_curvature: ArrayLike,
    learning_rate: float,
    batch_size: int,
    *,
    window: tuple[int, int] | None = None,
    every: int = 1,
    level: float = 0.95,
) -> FluctuationDissipation:
    """phi = U, (36), of a run's series of grad U.s, tr(H M) and s.H s; with those of the test loss it is (37).

        continuous    2 <grad U.s> = T <tr(H M)>                 grad U.s = |grad U|^2 + weight_decay theta.grad U
        discrete      2 <grad U.s> = T <tr(H M)> + eta <s.H s>

    Without momentum. The discrete form is exact where U is quadratic; elsewhere it leaves out third and higher
    derivatives. Where the right side is not told from zero the interval is unbounded. The rest as in `norm_identity`.

    >>> ones = np.ones(1000)
    >>> found = loss_identity(0.75 * ones, 5 * ones, 5 * ones, learning_rate=0.2, batch_size=4)   # 0.25, and 1 more
    >>> [round(float(form.ratio.estimate.value), 3) for form in found]
    [6.0, 1.2]

    Raises what `norm_identity` raises.

    Source: Gomez-Uribe, eqs (36), (37); discrete form: docs/theory/trajectories.md.
    """
    series = {"gradient_force": gradient_force, "curvature_noise": curvature_noise, "force_curvature": force_curvature}
    work, noise, step = in_window(series, window, every)
    return _both_forms(work, noise, step, None, learning_rate, batch_size, 0.0, level)


def _both_forms(
    work: Series,
    noise: Series,
    step: Series,
    velocity_work: Series | None,
    learning_rate: float,
    batch_size: int,
    momentum: float,
    level: float,
) -> FluctuationDissipation:
    """2 (1 - mu) <work> against T <noise>, and against T <noise> + eta <step> + 2 mu eta <velocity_work>."""
    rate = _checks.number("learning_rate", learning_rate, above=0.0)
    temperature = rate / _checks.integer("batch_size", batch_size)
    mu = _checks.number("momentum", momentum, minimum=0.0, below=1.0)
    left, right = 2 * (1 - mu) * work, temperature * noise
    cause = "not stationary, or learning_rate is too large for the continuous form"
    continuous = _balance(left, right, level, cause)
    if mu and velocity_work is None:
        return FluctuationDissipation(continuous, None)
    right = right + rate * step
    if mu and velocity_work is not None:
        right = right + 2 * mu * rate * velocity_work
    return FluctuationDissipation(continuous, _balance(left, right, level, "not stationary, or not this process"))


def _balance(left: Series, right: Series, level: float, cause: str) -> Balance:
    ratio = ratio_of_means(left, right, level)
    sides = time_averages(left, right)
    if ratio.warning:
        told = f"cannot tell: {ratio.warning}"
    elif ratio.contains(1.0):
        told = "agrees"
    else:
        value = float(ratio.estimate.value)
        told = f"differs: left is {value:.3g} times the right ({ratio.low:.3g} to {ratio.high:.3g}): {cause}"
    return Balance(sides[0], sides[1], ratio, told)

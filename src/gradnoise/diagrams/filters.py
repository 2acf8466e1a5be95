"""Optimizers that pass gradients through a linear filter: what one update does to the edges of a diagram."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

Number = Any
"""A Fraction or a float."""


class Update(NamedTuple):
    """One update, as factors on the edges whose child has been placed and whose parent has not.

    A gradient first enters the momentum buffer, then acts on the weights; an edge is in one of the two places.
    keep: buffer -> buffer. release: buffer -> weights. enter: fresh gradient -> buffer. act: fresh gradient ->
    weights. inside: an edge whose parent stands at the same step.
    """

    keep: Number
    release: Number
    enter: Number
    act: Number
    inside: Number


@dataclass(frozen=True)
class LinearFilter:
    """SGD with momentum as in PyTorch: at step t, with the gradient g_t and the learning rate eta_t = rates[t] eta,

        buffer <- momentum buffer + (1 - dampening) g_t        (g_0 itself at the first step)
        theta  <- theta - eta_t (buffer, or g_t + momentum buffer with nesterov).

    Without momentum theta <- theta - eta_t g_t, whatever the dampening. A gradient of step u has acted on theta_t with
    total weight a_{t-u}: (1 - m^s)/(1 - m) for heavy ball, (1 - m^{s+1})/(1 - m) with nesterov, times 1 - dampening
    but for u = 0. hessian_damping adds edges inside a step t (diagrams.md 4.4), each with a factor of it times eta_t.

    >>> LinearFilter(momentum=2).update(0)
    Update(keep=2, release=2, enter=1, act=1, inside=0)

    Source: diagrams.md section 4.3; torch.optim.SGD.
    """

    momentum: Number = 0
    nesterov: bool = False
    dampening: Number = 0
    hessian_damping: Number = 0
    rates: tuple[Number, ...] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether every gradient acts once, with weight one: then counts are polynomials in the sizes of the grid."""
        return self.momentum == 0 and self.rates is None

    @property
    def is_exact(self) -> bool:
        """Whether the factors are integers and Fractions, not floats."""
        factors = (self.momentum, self.dampening, self.hessian_damping, *(self.rates or ()))
        return not any(isinstance(factor, float) for factor in factors)

    @property
    def in_floats(self) -> "LinearFilter":
        """The same filter with all factors rounded to floats."""
        rates = None if self.rates is None else tuple(map(float, self.rates))
        return LinearFilter(
            float(self.momentum), self.nesterov, float(self.dampening), float(self.hessian_damping), rates
        )

    def update(self, step: int) -> Update:
        """The factors of the update at `step`, in units of the base learning rate."""
        rate = 1 if self.rates is None else self.rates[step]
        inside = self.hessian_damping * rate
        if self.momentum == 0:
            return Update(keep=0, release=0, enter=0, act=rate, inside=inside)
        enter = 1 if step == 0 else 1 - self.dampening
        if self.nesterov:
            release, act = rate * self.momentum**2, rate * (1 + self.momentum * enter)
        else:
            release, act = rate * self.momentum, rate * enter
        return Update(self.momentum, release, enter, act, inside)


def read_filter(
    num_steps: int,
    momentum: Any = 0,
    nesterov: Any = False,
    dampening: Any = 0,
    hessian_damping: Any = 0,
    schedule: Any = None,
) -> LinearFilter:
    """The filter with all numbers exact, for `num_steps` steps.

    Numbers are ints, Fractions, strings ("1/3") or floats, which are read by their shortest decimal. `schedule`: None,
    a function of the step (optax's are) or one number a step, relative to the base rate. Raises ValueError for a negative
    momentum, for nesterov without momentum or with dampening (as torch.optim.SGD does), and for a schedule that is too
    short; TypeError for what is no number or schedule.
    """
    mass, loss = read_exact("momentum", momentum), read_exact("dampening", dampening)
    if mass < 0:
        raise ValueError(f"momentum={momentum} is negative, expected 0 or more. Give 0.9, say.")
    if nesterov and (mass == 0 or loss != 0):
        raise ValueError(
            f"nesterov=True came with momentum={momentum} and dampening={dampening}, expected a momentum above 0 "
            "and no dampening, as in PyTorch. Set momentum=0.9, say, and dampening=0."
        )
    rates = None if schedule is None else _read_rates(schedule, num_steps)
    return LinearFilter(mass, bool(nesterov), loss, read_exact("hessian_damping", hessian_damping), rates)


def _read_rates(schedule: Any, num_steps: int) -> tuple[Fraction, ...]:
    if callable(schedule):
        return tuple(read_exact(f"schedule({step})", schedule(step)) for step in range(num_steps))
    if isinstance(schedule, str) or not hasattr(schedule, "__getitem__") or not hasattr(schedule, "__len__"):
        raise TypeError(f"schedule={schedule!r} is no function of the step and no sequence. Give lambda step: 1, say.")
    if len(schedule) < num_steps:
        raise ValueError(f"schedule has {len(schedule)} entries, expected {num_steps}. Give a rate for each step.")
    return tuple(read_exact(f"schedule[{step}]", schedule[step]) for step in range(num_steps))


def read_exact(name: str, value: Any) -> Fraction:
    """A number as a Fraction; a float (of any width) by the shortest decimal that rounds to it.

    >>> read_exact("momentum", 0.9), read_exact("momentum", "1/3")
    (Fraction(9, 10), Fraction(1, 3))
    """
    kind = getattr(getattr(value, "dtype", None), "kind", "") if getattr(value, "ndim", None) == 0 else ""
    is_number = isinstance(value, (int, float, str, Fraction, Decimal)) or kind in tuple("iuf")
    if isinstance(value, bool) or not is_number:
        raise TypeError(f"{name}={value!r} is not a number. Give an int, a Fraction, a float or a string like '1/3'.")
    try:
        return Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{name}={value!r} is not a finite number. Give 0.9 or '1/3', say.") from None

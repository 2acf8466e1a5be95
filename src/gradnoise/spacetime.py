"""Spacetime: which example is used at which step. The same object drives a simulation and a counting problem."""

from dataclasses import dataclass
from fractions import Fraction

from gradnoise import _checks

SAMPLINGS = ("fixed", "reshuffle", "subset", "with_replacement")
"""One order, the same every epoch; a fresh order each epoch; distinct examples, afresh each step; free draws."""


@dataclass(frozen=True, init=False, repr=False)
class Spacetime:
    """The sampling pattern of a run: T = num_steps updates, each with B = batch_size of a replica's N = num_examples.

    T = E N / B with E = epochs. sampling="fixed": one order, the same every epoch; "reshuffle": a fresh uniform order
    each epoch; "subset": at each step B distinct examples, uniform, independent of the other steps;
    "with_replacement": independent draws. For the first two B divides N; for the last two `num_steps` may be given
    instead of `epochs`. Immutable, hashable, and equal if N, B, sampling and T are.

    Raises TypeError for a number that is no integer, ValueError for numbers that do not fit together.

    >>> Spacetime(num_examples=100, batch_size=20, epochs=2).num_steps
    10
    >>> Spacetime(100, 7, sampling="with_replacement", num_steps=3)
    Spacetime(num_examples=100, batch_size=7, num_steps=3, sampling='with_replacement')

    Source: the grid of diagrams.md section 1; sampling without epochs, section 2.5.
    """

    num_examples: int
    batch_size: int
    sampling: str
    num_steps: int

    def __init__(
        self,
        num_examples: int,
        batch_size: int,
        epochs: int = 1,
        sampling: str = "fixed",
        num_steps: int | None = None,
    ) -> None:
        num_examples = _checks.integer("num_examples", num_examples)
        batch_size = _checks.integer("batch_size", batch_size)
        epochs = _checks.integer("epochs", epochs)
        sampling = _checks.one_of("sampling", sampling, SAMPLINGS)
        _check_batch(num_examples, batch_size, sampling)
        steps = _steps_of(num_examples, batch_size, epochs, sampling, num_steps)
        self._fill(num_examples, batch_size, sampling, steps)

    def _fill(self, num_examples: int, batch_size: int, sampling: str, num_steps: int) -> None:
        for name, value in zip(self.__dataclass_fields__, (num_examples, batch_size, sampling, num_steps), strict=True):
            object.__setattr__(self, name, value)

    @property
    def epochs(self) -> int | Fraction:
        """E = T B / N, passes over the training set: an int, or a Fraction on a grid cut inside an epoch."""
        passes = Fraction(self.num_steps * self.batch_size, self.num_examples)
        return passes.numerator if passes.denominator == 1 else passes

    @property
    def has_epochs(self) -> bool:
        """Whether each example is used exactly once an epoch ("fixed" and "reshuffle")."""
        return self.sampling in ("fixed", "reshuffle")

    @property
    def steps_per_epoch(self) -> int:
        """tau = N / B; raises ValueError if B does not divide N, as it need not without epochs."""
        if self.num_examples % self.batch_size:
            raise ValueError(
                f"steps_per_epoch is not whole for batch_size={self.batch_size} and num_examples={self.num_examples}, "
                f"expected a divisor. Use num_steps={self.num_steps} or epochs={self.epochs} instead."
            )
        return self.num_examples // self.batch_size

    @property
    def full_epochs(self) -> int:
        """Whole epochs among the T steps, floor(T / tau)."""
        return self.num_steps // self.steps_per_epoch

    @property
    def remaining_steps(self) -> int:
        """Steps after the last whole epoch, T mod tau."""
        return self.num_steps % self.steps_per_epoch

    def truncate(self, num_steps: int) -> "Spacetime":
        """The grid after `num_steps` updates, 0 <= num_steps <= T; the training set keeps all its N examples.

        Raises TypeError if num_steps is no integer, ValueError if it is out of range.

        >>> Spacetime(num_examples=4, batch_size=1, epochs=2).truncate(6).epochs
        Fraction(3, 2)
        """
        steps = _checks.integer("num_steps", num_steps, minimum=0)
        if steps > self.num_steps:
            raise ValueError(
                f"num_steps={steps} is outside the grid, expected 0 to {self.num_steps} updates. "
                "Truncate inside the grid, or make a longer one with epochs=."
            )
        cut = object.__new__(Spacetime)
        cut._fill(self.num_examples, self.batch_size, self.sampling, steps)
        return cut

    def __repr__(self) -> str:
        start = f"Spacetime(num_examples={self.num_examples}, batch_size={self.batch_size}"
        if self.has_epochs:
            whole = max(1, -(-self.num_steps // self.steps_per_epoch))
            cut = "" if whole == self.epochs else f".truncate({self.num_steps})"
            return f"{start}, epochs={whole}, sampling={self.sampling!r}){cut}"
        cut = "" if self.num_steps else ".truncate(0)"
        return f"{start}, num_steps={max(1, self.num_steps)}, sampling={self.sampling!r}){cut}"


def _check_batch(num_examples: int, batch_size: int, sampling: str) -> None:
    if sampling == "with_replacement":
        return
    if batch_size > num_examples:
        raise ValueError(
            f'batch_size={batch_size} exceeds num_examples={num_examples}, and sampling="{sampling}" puts distinct '
            f'examples into a batch. Use at most {num_examples} or sampling="with_replacement".'
        )
    if sampling == "subset" or num_examples % batch_size == 0:
        return
    near = ", ".join(map(str, _nearest_divisors(num_examples, batch_size)))
    times = "once an epoch" if sampling == "fixed" else "once an epoch, in a fresh order"
    raise ValueError(
        f'batch_size={batch_size} does not divide num_examples={num_examples}, and sampling="{sampling}" uses each '
        f'example {times}. Use a divisor ({near}) or sampling="with_replacement".'
    )


def _nearest_divisors(number: int, wanted: int, how_many: int = 3) -> list[int]:
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    divisors = sorted({*small, *(number // d for d in small)})
    return sorted(sorted(divisors, key=lambda d: (abs(d - wanted), d))[:how_many])


def _steps_of(num_examples: int, batch_size: int, epochs: int, sampling: str, num_steps: int | None) -> int:
    by_epochs = Fraction(epochs * num_examples, batch_size)
    if num_steps is None:
        if by_epochs.denominator != 1:
            near = max(1, round(by_epochs))
            raise ValueError(
                f"epochs={epochs} means {epochs * num_examples}/{batch_size} steps for num_examples={num_examples} and "
                f"batch_size={batch_size}, expected a whole number of steps. Give num_steps={near}, say, instead."
            )
        return by_epochs.numerator
    steps = _checks.integer("num_steps", num_steps)
    if steps == by_epochs:
        return steps
    if sampling in ("fixed", "reshuffle"):
        raise ValueError(
            f"num_steps={steps} is not epochs={epochs} of {num_examples // batch_size} steps, and "
            f'sampling="{sampling}" runs whole epochs. '
            f"Give epochs= alone, and .truncate({steps}) for the grid after {steps} updates."
        )
    if epochs != 1:
        raise ValueError(
            f"num_steps={steps} and epochs={epochs} disagree: {epochs} epochs of num_examples={num_examples} at "
            f"batch_size={batch_size} are {by_epochs} steps. Give one of the two."
        )
    return steps


def require_spacetime(spacetime: object) -> None:
    """Raise TypeError unless `spacetime` is a Spacetime."""
    if not isinstance(spacetime, Spacetime):
        raise TypeError(f"spacetime is {type(spacetime).__name__}, expected a Spacetime. Give Spacetime(100, 10), say.")

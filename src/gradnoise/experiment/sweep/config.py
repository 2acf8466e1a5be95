"""What a sweep is asked to do."""

import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_serializer, field_validator, model_validator

from gradnoise import _checks
from gradnoise.averaging import scaled_epochs
from gradnoise.experiment.settings import Settings
from gradnoise.problem import Problem

DEFAULT_PROBLEM = "digits-mlp"
VARIANTS = ("plain", "momentum", "cosine", "momentum-cosine")

DEFAULT: Mapping[str, Any] = {
    "problem": DEFAULT_PROBLEM, "num_examples": 300, "training_set": "distinct", "weight_decay": 1e-3, "seeds": 3,
    "temperatures": (0.005, 0.01, 0.02, 0.04, 0.07, 0.1, 0.14, 0.18), "batch_sizes": (2, 8), "learning_rate_cap": 1.2,
    "reference_epochs": 300, "reference_temperature": 0.05, "max_factor": 6.0, "num_records": 60,
}  # fmt: skip
"""What `gradnoise sweep` runs where neither plan nor problem nor rates are given: real data, minutes on two cores."""

ROUNDING = 1e-14
"""A rate above the cap by so little of it is at the cap."""

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class SweepPlan(Settings):
    """Runs of SGD for every learning rate, batch size, N, width and variant, `seeds` of each.

    What is run: `problem`, a stock problem, "module:function" or a Problem; or a stock `model` on the file `data`; with
    each of `widths` (None: the problem's own). The grid: `learning_rates`, or `temperatures` T, the rate then T *
    batch_size; `batch_sizes`; `num_examples` N (None: the pool's size, half of it for distinct sets of which nothing is
    held out); `variants`: momentum is PyTorch's with `momentum`, cosine the quarter cosine from the rate to zero. No run
    has a rate above `learning_rate_cap`.

    Seed s has one training set, start and batches in all cells, as far as their shapes allow. `training_set`: "drawn"
    i.i.d. from the pool, or N "distinct" examples of it. A run lasts `epochs(T)`, recorded `num_records` times at equal
    distances after the start; it is lengthened or cut to a whole number of steps a record. At most `runs_per_chunk` runs
    share a compiled call (None: what cache and memory allow).
    """

    problem: Any = None
    data: str | None = None
    model: str | None = None
    widths: tuple[Count, ...] | None = None
    learning_rates: tuple[Rate, ...] = ()
    temperatures: tuple[Rate, ...] = ()
    batch_sizes: tuple[Count, ...] = (8,)
    seeds: int = Field(4, ge=1)
    num_examples: tuple[Annotated[int, Field(ge=2)], ...] | None = None
    variants: tuple[Literal["plain", "momentum", "cosine", "momentum-cosine"], ...] = ("plain",)
    momentum: float = Field(0.9, gt=0, lt=1)
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    sampling: Literal["with_replacement", "subset", "reshuffle"] = "with_replacement"
    training_set: Literal["drawn", "distinct"] = "drawn"
    reference_epochs: int = Field(100, ge=1)
    reference_temperature: float | None = Field(None, gt=0, allow_inf_nan=False)
    max_factor: float = Field(4.0, ge=1, allow_inf_nan=False)
    learning_rate_cap: float | None = Field(None, gt=0, allow_inf_nan=False)
    num_records: int = Field(20, ge=1)
    runs_per_chunk: int | None = Field(None, ge=1)

    @field_validator(
        "learning_rates", "temperatures", "batch_sizes", "num_examples", "widths", "variants", mode="before"
    )
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return given if given is None or isinstance(given, (list, tuple)) else (given,)

    @field_validator("learning_rates", "temperatures", "batch_sizes", "num_examples", "widths", "variants")
    @classmethod
    def _each_once(cls, given: Any) -> Any:
        twice = [value for k, value in enumerate(given or ()) if value in given[:k]]
        if twice:
            raise ValueError(f"it holds {twice[0]!r} twice, expected each value once")
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if bool(self.learning_rates) == bool(self.temperatures):
            came = "both" if self.learning_rates else "neither"
            raise ValueError(
                f"{came} of learning_rates and temperatures came, expected one of them. Give learning_rates=0.1, say."
            )
        for name in ("batch_sizes", "variants", "num_examples", "widths"):
            if getattr(self, name) == ():
                raise ValueError(f"{name} is empty, expected at least one, or the plan has no cell left. Give one.")
        if self.problem is not None and not isinstance(self.problem, (str, Problem)):
            told = type(self.problem).__name__
            raise ValueError(
                f"problem is {told}, expected a name, 'module:function' or a Problem. Give 'digits-mlp', say."
            )
        if self.problem is not None and self.data is not None:
            raise ValueError("problem came beside data, expected one of the two. Leave one out.")
        if self.model is not None and self.data is None:
            raise ValueError(f"model={self.model!r} came without data, expected with it. Give data='FILE.npz'.")
        above = [rate for rate in self.learning_rates if rate > self.cap]
        if above:
            raise ValueError(
                f"learning_rates holds {above[0]:g}, above learning_rate_cap={self.cap:g}. Leave it out, or raise the cap."
            )
        return self

    @field_serializer("problem")
    def _name_of_the_problem(self, problem: Any) -> str | None:
        return problem.name if isinstance(problem, Problem) else problem

    @property
    def cap(self) -> float:
        """The largest learning rate allowed; infinity where there is none."""
        return math.inf if self.learning_rate_cap is None else self.learning_rate_cap

    def rates(self, batch_size: int) -> tuple[float, ...]:
        """The learning rates at `batch_size`, those above the cap left out, if by more than rounding.

        >>> 0.1 * 12, SweepPlan(temperatures=(0.1, 0.2), learning_rate_cap=1.2).rates(12)
        (1.2000000000000002, (1.2,))
        """
        wanted = self.learning_rates or tuple(temperature * batch_size for temperature in self.temperatures)
        return tuple(min(rate, self.cap) for rate in wanted if rate <= self.cap * (1 + ROUNDING))

    def epochs(self, temperature: float) -> int:
        """Passes over the training set of a run at temperature T = learning rate / batch size, that of its first step.

            ceil(reference_epochs * max(1, min(max_factor, 1 + (reference_temperature / T - 1) / 4)))

        Without a reference temperature every run takes the reference epochs. Momentum does not enter.

        >>> plan = SweepPlan(learning_rates=0.1, reference_epochs=300, reference_temperature=2e-4)
        >>> [plan.epochs(temperature) for temperature in (4e-4, 2e-4, 1e-4, 5e-5, 1e-6)]
        [300, 300, 375, 525, 1200]

        Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", with the factor named.
        """
        if self.reference_temperature is None:
            return self.reference_epochs
        wanted = scaled_epochs(temperature, self.reference_epochs, self.reference_temperature, most=self.max_factor)
        return math.ceil(wanted * (1 - 1e-9))  # rounding adds no epoch


def read_plan(plan: Any) -> SweepPlan:
    """A plan from a mapping or the path of a TOML file; raises ValueError, one sentence, for what does not do.

    >>> read_plan({"learning_rates": [0.1, 0.2], "batch_sizes": 8}).batch_sizes
    (8,)
    """
    if isinstance(plan, SweepPlan):
        return plan
    if isinstance(plan, (str, os.PathLike)):
        plan = read_toml(Path(plan))
    if not isinstance(plan, Mapping):
        raise TypeError(
            f"plan is {type(plan).__name__}, expected a mapping or the path of a TOML file. Give {{'learning_rates': 0.1}}."
        )
    for name in plan:
        _checks.one_of("plan: setting", name, SweepPlan.model_fields)
    try:
        return SweepPlan.model_validate(dict(plan))
    except ValidationError as error:
        found = error.errors()[0]
    told = str(found["msg"]).removeprefix("Value error, ")
    if not found["loc"]:
        raise ValueError(told)
    place = found["loc"][0] if len(found["loc"]) == 1 else f"{found['loc'][0]}[{found['loc'][1]}]"
    raise ValueError(f"{place}={found['input']!r} does not do: {told[0].lower()}{told[1:]}. Mend it in the plan.")


def read_toml(path: Path) -> dict[str, Any]:
    """The settings in a TOML file; ValueError, one sentence, where it cannot be read."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise ValueError(
            f"plan={str(path)!r} cannot be read ({reason}), expected a TOML file of settings such as learning_rates = "
            "[0.1, 0.2]. Mend it, or give another."
        ) from None

"""How many runs one compiled call best holds, from shapes and the memory allowed, whatever the machine."""

import jax

from gradnoise._memory import parse_memory
from gradnoise._types import Params
from gradnoise.dynamics.plan import DEFAULT_MEMORY, Shapes, layout, needs
from gradnoise.dynamics.prepare import make_inputs, make_setup, own_starts, probe
from gradnoise.process import Process
from gradnoise.spacetime import Spacetime


def best_width(
    process: Process,
    params: Params,
    spacetime: Spacetime,
    learning_rate: float,
    num_replicas: int,
    num_records: int,
    training_set: str = "drawn",
    memory: int | str | None = None,
) -> int:
    """The runs, at most `num_replicas`, that one device's call holds inside its cache and `memory`; evenly cut.

    Of more than that many, ceil(num_replicas / width) calls take all with the least padding. `learning_rate` is the
    largest of them.

    >>> import numpy as np
    >>> from gradnoise.dynamics.discrete import sgd
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> best_width(sgd(problem), np.float32(0), Spacetime(4, 2), 0.1, 5000, num_records=3)
    2500

    Raises what `simulate` raises before it runs, and ValueError, naming memory, if one run does not fit.
    """
    setup = make_setup(process, spacetime, training_set, None, "float32", None, own_starts(params))
    limit = DEFAULT_MEMORY if memory is None else parse_memory(memory)
    with jax.enable_x64(False):  # as `simulate` runs them
        inputs = make_inputs(setup, params, learning_rate, jax.random.key(0))
        probe(setup, inputs)
        return layout(setup, needs(setup, Shapes.of(inputs)), num_replicas, num_records, 1, limit).width

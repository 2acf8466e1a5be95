"""Where the expansion around the path is trusted, by step."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

NOISE_SHARE = 0.3
"""Above this (last noise part) / (loss) one more order is needed: up to it test losses were off by at most 7 %."""
GAP_SHARE = 0.1
"""The same for the gap, of the noise part over the smaller of the loss and its drop since the start (loop_table.md)."""


class Domain(NamedTuple):
    """Where the expansion is trusted, by step.

    `share` (num_steps + 1,): the size of the last noise part of the test loss over the loss without it; for the gap, over
    the smaller of that loss and its drop since the start. `bound`: what it may reach. `inside` (num_steps + 1,): a test
    loss is outside from the first step on that passes the bound; a gap also wherever its own share does, as it may
    early. `end`: from this step on it is outside (None: inside at the end).
    """

    end: int | None
    share: Float[np.ndarray, " step"]
    inside: Bool[np.ndarray, " step"]
    bound: float = NOISE_SHARE

    def __str__(self) -> str:
        if self.end is None:
            return f"inside: the last noise part ends at {self.share[-1]:.2g} of the loss (bound {self.bound:g})"
        return (
            f"outside from step {self.end} on: the last noise part passes {self.bound:g} of the loss; not drawn there"
        )

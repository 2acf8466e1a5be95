"""How far a curve can be off because the directions of little curvature were taken as flat."""

import numpy as np

from gradnoise.predict.path.noise_weights import noise_weights
from gradnoise.predict.resummed.kicks import kicks
from gradnoise.predict.resummed.propagator import mode_propagator
from gradnoise.predict.resummed.spectrum import Rest
from gradnoise.spacetime import Spacetime


def truncation_bound(
    rest: Rest, spacetime: Spacetime, learning_rate: float, momentum: float, target: str
) -> np.ndarray:
    """The bound at every step, (T + 1,), for directions of curvature between -h and h, h the smallest that was kept.

        test: |G|^2 (d[u] + (h/2) d[u^2]) + (h/2) tr(C) d[s],     gap: tr(C) d[u]/N,     d[f] = max |f(+-h) - f(0)|

    G and C of those directions only; train: both. Each sum over times is monotonic in the curvature, so that the ends
    decide, as long as eta h < (1 - sqrt(momentum))^2.
    """
    bent = np.array([0.0, rest.largest_curvature, -rest.largest_curvature])
    edge, each = mode_propagator(bent, learning_rate, momentum), np.arange(3)
    weights = {kind: float(weight) for kind, weight in noise_weights(spacetime, "drawn", 0).items()}
    driven = np.array([one.carried for one in kicks("same", spacetime, edge, each, each)])
    spread = np.zeros_like(driven)
    for kind, weight in weights.items():
        spread += weight * np.array([one.spread for one in kicks(kind, spacetime, edge, each, each)])
    change = lambda sums: np.abs(sums[:, 1:] - sums[:, :1]).max(axis=1)  # noqa: E731
    half = rest.largest_curvature / 2
    test = rest.slope_square * (change(driven) + half * change(driven**2)) + half * rest.noise_trace * change(spread)
    gap = rest.noise_trace * change(driven) / spacetime.num_examples
    return {"test": test, "gap": gap, "train": test + gap}[target]

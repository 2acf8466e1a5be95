"""Signal and noise of the gradient as an adaptive optimizer sees them: in the metric by which it scales each weight."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from gradnoise._types import Params
from gradnoise.measure.noise_scale import NoiseScale, noise_scale
from gradnoise.problem import Problem


def noise_scale_in_metric(
    problem: Problem, params: Params, metric: Params, batch_size: int = 1, **options: Any
) -> NoiseScale:
    """`noise_scale` with squared norms in a diagonal metric M > 0, a tree like params: what multiplies the gradient.

        signal G^T M G,      noise tr(M D),      simple noise scale tr(M D) / G^T M G, in examples

    For Adam M = 1/(sqrt(v) + epsilon), v the bias-corrected mean of squared gradients: G^T M G is what a step along the full
    gradient gains to first order. It is computed as the noise scale in the weights u = M^(-1/2) x. `options` are
    those of `noise_scale`.

    >>> import gradnoise as gn
    >>> pool = np.array([[1.0, 0.0], [3.0, 0.0], [2.0, 1.0]])
    >>> problem = gn.from_arrays(lambda w, x: ((w - x) ** 2).sum() / 2, lambda key: np.zeros(2), pool)
    >>> noise_scale_in_metric(problem, np.zeros(2), np.array([1.0, 100.0])).noise_trace.value    # 2/3 + 100 * 2/9
    np.float64(22.9)

    Raises ValueError for a metric of another structure or shapes, or not positive and finite, and what `noise_scale` raises.

    Source: ours, by reparameterization; that steps are compared in the optimizer's own metric follows McCandlish et al.
    2018, section 2.
    """
    if jax.tree.structure(metric) != jax.tree.structure(params):
        raise ValueError(
            "metric has another structure than params, expected one positive number a weight. Give a tree like params."
        )
    scales = [np.asarray(leaf, dtype=float) for leaf in jax.tree.leaves(metric)]
    for scale, leaf in zip(scales, jax.tree.leaves(params), strict=True):
        if scale.shape != np.shape(leaf) or not np.all(np.isfinite(scale) & (scale > 0)):
            raise ValueError(
                f"metric has a leaf of shape {scale.shape} beside {np.shape(leaf)}, or a number that is not positive and "
                "finite, expected one positive number a weight. Mend it."
            )
    roots = jax.tree.map(lambda scale: np.sqrt(np.asarray(scale, dtype=float)), metric)

    def loss(weights: Params, example: Any) -> jax.Array:
        return problem.loss(jax.tree.map(lambda u, root: u * root.astype(u.dtype), weights, roots), example)

    start = jax.tree.map(lambda leaf, root: np.asarray(leaf, dtype=float) / root, params, roots)
    return noise_scale(replace(problem, loss=loss, measured=None, metrics=None), start, batch_size, **options)

"""What the skewness of the noise does to the loss in the long run: two diagrams of one power, of opposite sign."""

import numpy as np
from jaxtyping import Float

STAR, COMPANION = "(012-3)(03-13-23)", "(012-3-4)(03-13-24-34)"
"""All three kicks at the root; two of them meet in an untied node first."""


def skewness(
    third_cumulant: Float[np.ndarray, "p p p"],
    third_derivative: Float[np.ndarray, "p p p"],
    eigenvalues: Float[np.ndarray, "p"],
    learning_rate: float,
    num_steps: int | None = None,
    batch_size: int = 1,
) -> float:
    """The test loss that the third cumulant S of one example's gradient adds after T steps within one epoch, or for ever.

    star       -(eta^3/6) S_abc J_abc sum_{u<T} (k_a k_b k_c)^u                      -> -(eta^2/6) S J/(h_a+h_b+h_c)
    companion  +(eta^4/2) S_abc J_abc h_c k_c sum_{u+w<=T-2} (k_a k_b k_c)^u (k_c^2)^w   -> +(eta^2/4) S J/(h_a+h_b+h_c)
    for ever   sum: +(eta^2/12) S_abc J_abc/(h_a+h_b+h_c) for small eta;  one weight: +S J eta^2/(36 h)

    S and J in the eigenbasis of the hessian; all over B^2. Later versions of the theory print the star alone, which has
    the wrong sign in the long run. Units: loss. For ever it is the limit of the sums, at any eta with |k| < 1.

    >>> one = np.ones((1, 1, 1))
    >>> round(skewness(one, one, np.ones(1), learning_rate=1e-4) / 1e-8, 4)                          # 1/36
    0.0278
    >>> round(skewness(one, one, np.ones(1), learning_rate=0.1, num_steps=1), 9)                     # -(T/6) eta^3 S J
    -0.000166667

    Raises ValueError for a run for ever unless 0 < eta h < 2. Source: diagrams.md section 3, "Skewness".
    """
    h = np.asarray(eigenvalues, dtype=float)
    if num_steps is None and not np.all((h > 0) & (learning_rate * h < 2)):
        raise ValueError(
            f"eigenvalues run from {h.min():.3g} to {h.max():.3g}, expected 0 < learning_rate * eigenvalue < 2 for a run "
            "for ever. Give num_steps."
        )
    k = 1 - learning_rate * h
    both = np.asarray(third_cumulant) * np.asarray(third_derivative)
    three = k[:, None, None] * k[None, :, None] * k
    star = -(learning_rate**3) / 6 * np.sum(both * _sum(three, num_steps))
    companion = (
        learning_rate**4
        / 2
        * np.sum(both * (h * k) * _double_sum(three, np.broadcast_to(k**2, three.shape), num_steps))
    )
    return float(star + companion) / batch_size**2


def _sum(ratio: np.ndarray, num_steps: int | None) -> np.ndarray:
    """sum over u < T of ratio^u."""
    if num_steps is None:
        return 1 / (1 - ratio)
    one = ratio == 1
    return np.where(one, num_steps, (1 - ratio**num_steps) / np.where(one, 1, 1 - ratio))


def _double_sum(first: np.ndarray, second: np.ndarray, num_steps: int | None) -> np.ndarray:
    """sum over u, w >= 0 with u + w <= T - 2 of first^u second^w, term by term: no close ratios are divided."""
    if num_steps is None:
        return 1 / ((1 - first) * (1 - second))
    total, inner = np.zeros_like(first), np.zeros_like(first)
    for _ in range(num_steps - 1):
        inner = 1 + second * inner
        total = inner + first * total
    return total

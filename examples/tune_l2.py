"""Weight decay found while training, beside a grid judged on held-out digits: softmax regression on small training sets.

    python examples/tune_l2.py                              # ten seeds, some minutes
    python examples/tune_l2.py --num-seeds 1 --mislabelled 0

Each seed draws 100 digits, a share of them with random labels, trains on a grid of weight decays, and once with
`tune_weight_decay`, which sees no other digit. Without wrong labels the best weight decay is at the small end of the grid,
and so few adjustments stop short of it. Printed: held-out loss of the grid, the best of it, what was found. The page beside
it: docs/theory/takeuchi.md.
"""

import argparse
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gradnoise as gn
from gradnoise import _tree
from gradnoise.predict.tune_weight_decay import tune_weight_decay

GRID = 10.0 ** np.arange(-4, 0.25, 0.5)
"""Weight decays, half a decade apart."""
RATE, STEPS = 0.5, 2000


class Seed(NamedTuple):
    """Held-out loss on the grid; the weight decay found, its held-out loss."""

    grid: np.ndarray
    weight_decay: float
    loss: float

    @property
    def best(self) -> int:
        """The place of the grid's best."""
        return int(np.argmin(self.grid))


def one_seed(seed: int, num_examples: int, mislabelled: float, adjustments: int = 10) -> Seed:
    """A training set, its grid and its tuning; the other digits are held out."""
    stock = gn.testbeds.digits_logistic()
    training, others = split(stock.pool, seed, num_examples, mislabelled)
    start = stock.init(jax.random.key(0))
    with jax.enable_x64(True):
        grid, held_out = grid_losses(stock.loss, start, training, others)
        found = tune_weight_decay(
            gn.from_arrays(stock.loss, stock.init, training), start, RATE, STEPS, num_adjustments=adjustments
        )
        return Seed(grid, found.weight_decay, float(held_out(found.params)))


def split(pool: Any, seed: int, num_examples: int, mislabelled: float) -> tuple[Any, Any]:
    """Digits in a random order, a share of the labels drawn anew; the first `num_examples`, and the rest."""
    rng = np.random.default_rng(seed)
    order, count = rng.permutation(len(pool["y"])), len(pool["y"])
    labels = np.where(rng.random(count) < mislabelled, rng.integers(0, 10, count), pool["y"]).astype(np.int32)
    digits = {"x": np.asarray(pool["x"], float)[order], "y": labels[order]}
    return _tree.take(digits, np.arange(num_examples)), _tree.take(digits, np.arange(num_examples, count))


def grid_losses(loss: Any, start: Any, training: Any, others: Any) -> tuple[np.ndarray, Any]:
    """Held-out loss after the same descent at each weight decay of the grid, and the function that gives it."""

    def mean(params: Any, examples: Any) -> Any:
        return jax.vmap(loss, (None, 0))(params, examples).mean()

    def train(decay: Any) -> Any:
        slope = partial(jax.grad(mean), examples=training)

        def step(_: int, params: Any) -> Any:
            return jax.tree.map(lambda w, g: w - RATE * (g + decay * w), params, slope(params))

        return jax.lax.fori_loop(0, STEPS, step, _tree.cast(start, float))

    held_out = jax.jit(partial(mean, examples=others))
    return np.asarray(jax.jit(jax.vmap(lambda decay: held_out(train(decay))))(jnp.asarray(GRID))), held_out


def within_one_step(found: Seed) -> bool:
    """Within half a decade of the grid's best, or of smaller held-out loss than it."""
    near = abs(np.log10(found.weight_decay / GRID[found.best])) <= np.log10(GRID[1] / GRID[0])
    return bool(near or found.loss <= found.grid.min())


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-seeds", type=int, default=10, help="training sets (default 10)")
    parser.add_argument("--num-examples", type=int, default=100, help="digits in each (default 100)")
    parser.add_argument("--mislabelled", type=float, default=0.2, help="share of random labels (default 0.2)")
    parser.add_argument("--adjustments", type=int, default=10, help="of the weight decay while training (default 10)")
    options = parser.parse_args(arguments)
    print("held-out loss at weight decay " + " ".join(f"{decay:7.0e}" for decay in GRID))
    inside = []
    for seed in range(options.num_seeds):
        found = one_seed(seed, options.num_examples, options.mislabelled, options.adjustments)
        inside.append(within_one_step(found))
        print(
            f"seed {seed:2d}                       " + " ".join(f"{loss:7.3f}" for loss in found.grid)
            + f"   best {GRID[found.best]:.0e} ({found.grid.min():.3f})   found {found.weight_decay:.1e} ({found.loss:.3f})"
            + ("" if inside[-1] else "   MORE THAN A STEP OFF"),
            flush=True,
        )  # fmt: skip
    print(f"within one grid step of the best, or better: {sum(inside)} of {len(inside)}")


if __name__ == "__main__":
    main()

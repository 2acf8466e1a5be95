"""Does the SDE describe SGD? Li, Malladi, Arora's question, first without Monte Carlo, then for a network.

    python examples/fig_svag_1_weak_order.py --exact        # closed forms alone: no sampling, a second
    python examples/fig_svag_1_weak_order.py                # and softmax regression on digits, at two batch sizes

Printed: the weak error of SVAG(l) by l, the two parts of the SDE's error, the skewness that linear scaling keeps and the
SDE lacks; for the network what `weak_order` and `decompose_error` say. The page beside it: docs/theory/weak_order.md.
"""

import argparse
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

import gradnoise as gn
from gradnoise.experiment import decompose_error, weak_order_of
from gradnoise.testbeds.linear_errors import decomposition, weak_errors
from gradnoise.testbeds.linear_gradients import LinearRun, sde_moments
from gradnoise.testbeds.linear_losses import levy_cumulants, sde_cumulants, svag_cumulants

L_VALUES = (1, 2, 4, 8, 16)
SKEWED = (0.0, 0.0, 0.0, 1.0)


def table(head: str, rows: Iterable[tuple[str, Any]], digits: int = 5) -> str:
    """Lines of numbers under a heading."""
    lines = [f"{label:>16}  " + "  ".join(f"{value:>{digits + 4}.{digits}f}" for value in row) for label, row in rows]
    return "\n".join([head, *lines, ""])


def exact_tables() -> str:
    """The numbers of dynamics.md A4, A5, A6."""
    run = LinearRun(learning_rate=0.4, num_steps=10)
    errors = [(f"SVAG({l})", l * weak_errors(run, l)[1:]) for l in (*L_VALUES, 64, 128, 256)]
    parts = [(name.replace("_", " "), part[-1, 1:]) for name, part in decomposition(run)._asdict().items()]
    third = [(f"SVAG({l})", [1e4 * svag_cumulants(SKEWED, l, 0.1, 8)[3]]) for l in (1, 2, 8, 64)]
    others = {"SDE": sde_cumulants, "Levy": levy_cumulants}
    third += [(name, [1e4 * function(SKEWED, 0.1, 8)[3]]) for name, function in others.items()]
    scaled = [(f"eta, B x {k}", [1e4 * svag_cumulants(SKEWED, 1, 0.1 * k, 8 // k, k)[3]]) for k in (1, 2, 4, 8)]
    return "\n".join(
        [
            table("E X^p of the SDE after ten steps, p = 1, 2, 3, 4", [("", sde_moments(run)[-1, 1:])], 8),
            table("l * weak error of SVAG(l): largest over steps", errors),
            table("SDE less SGD after ten steps", parts),
            table("Linear losses: third cumulant after the time .8, in 1e-4", third, 3),
            table("The same of SGD along a linear scaling", scaled, 3),
        ]
    )


def network(batch_size: int, learning_rate: float, num_replicas: int, l_values: tuple[int, ...]) -> str:
    """Softmax regression on 256 digits, 20 steps of batches drawn with replacement from 200 examples a replica."""
    problem = gn.testbeds.digits_logistic(256)
    params = problem.init(jax.random.key(0))
    grid = gn.Spacetime(200, batch_size, sampling="with_replacement", num_steps=20)
    options = {"num_replicas": num_replicas, "key": jax.random.key(1), "every": 5}
    runs = {l: gn.simulate(gn.svag(problem, l), params, grid, learning_rate, **options) for l in l_values}
    parts = decompose_error(problem, params, grid, learning_rate, **options)
    lines = [f"Digits, B = {batch_size}, rate {learning_rate:g}"]
    for name in ("test_loss", "gap"):
        found = weak_order_of(runs, name)
        mean = found.means.value[0, -1]
        lines += [f"{name} of SGD at the end {mean:.4g}", found.sentence, parts.sentence(name)]
    return "\n".join([*lines, ""])


def main(arguments: list[str] | None = None) -> None:
    """Print the tables, and unless --exact what the runs say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exact", action="store_true", help="closed forms alone")
    parser.add_argument("--num-replicas", type=int, default=2000, help="runs of each process (default 2000)")
    parser.add_argument("--largest-l", type=int, default=16, help="SVAG at l = 1, 2, 4, ... up to this (default 16)")
    options = parser.parse_args(arguments)
    with np.printoptions(suppress=True):
        print(exact_tables())
    if not options.exact:
        l_values = tuple(l for l in (2**k for k in range(12)) if l <= options.largest_l)
        for batch_size, learning_rate in ((2, 0.05), (16, 0.4)):
            print(network(batch_size, learning_rate, options.num_replicas, l_values), flush=True)


if __name__ == "__main__":
    main()

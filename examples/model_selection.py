"""Which network will end lowest, told before training: myopic model selection on the digits, twelve architectures.

    python examples/model_selection.py                           # about a quarter of an hour on two cores
    python examples/model_selection.py --learning-rate 0.05 --inits 8

For each architecture: test loss after the run as predicted from the noise at fresh starts (third order, extended by an
autonomous equation), and as simulated from other fresh starts; then Kendall's tau. docs/theory/model_selection.md
"""

import argparse
from collections.abc import Callable, Mapping

import jax

import gradnoise as gn
from gradnoise.estimate import Estimate, from_samples
from gradnoise.predict.model_selection import Outlook, agreement, outlook

CANDIDATES: Mapping[str, Callable[[], gn.Problem]] = {
    "logistic": lambda: gn.testbeds.problem("digits-logistic"),
    "tanh 8": lambda: gn.testbeds.problem("digits-mlp", width=8),
    "tanh 16": lambda: gn.testbeds.problem("digits-mlp", width=16),
    "tanh 32": lambda: gn.testbeds.problem("digits-mlp", width=32),
    "tanh 64": lambda: gn.testbeds.problem("digits-mlp", width=64),
    "tanh 16-16": lambda: gn.testbeds.problem("digits-mlp", width=16, depth=2),
    "tanh 32-32": lambda: gn.testbeds.problem("digits-mlp", width=32, depth=2),
    "tanh 32-32-32": lambda: gn.testbeds.problem("digits-mlp", width=32, depth=3),
    "gelu 16": lambda: gn.testbeds.problem("digits-mlp", width=16, activation="gelu"),
    "gelu 32": lambda: gn.testbeds.problem("digits-mlp", width=32, activation="gelu"),
    "gelu 32-32": lambda: gn.testbeds.problem("digits-mlp", width=32, depth=2, activation="gelu"),
    "softplus 16": lambda: gn.testbeds.problem("digits-mlp", width=16, activation="softplus"),
    "softplus 32": lambda: gn.testbeds.problem("digits-mlp", width=32, activation="softplus"),
    "softplus 32-32": lambda: gn.testbeds.problem("digits-mlp", width=32, depth=2, activation="softplus"),
}


def simulated(
    problem: gn.Problem, spacetime: gn.Spacetime, rate: float, key: jax.Array, inits: int, replicas: int
) -> Estimate:
    """Test loss after the run, the mean over fresh starts, each of `replicas` runs."""
    means = []
    for number in range(inits):
        start, runs = jax.random.split(jax.random.fold_in(key, number))
        run = gn.simulate(
            gn.sgd(problem), problem.init(start), spacetime, rate, replicas, runs, every=spacetime.num_steps
        )
        means.append(run.mean("test_loss")[-1].value)
    return from_samples(means)  # type: ignore[arg-type]


def row(name: str, promised: Outlook, came: Estimate) -> str:
    """One line of the table."""
    declined = "  declined" if promised.is_declined else ""
    return (
        f"{name:15s} {promised.predicted.value:7.4f} +- {promised.predicted.stderr:.4f} "
        f"({promised.error_between:.4f}, {promised.error_within:.4f})   {came.value:7.4f} +- {came.stderr:.4f}"
        f"   {promised.optimization_ease.value:7.4f}   {promised.architecture.value:7.4f}   {promised.ratio:5.2f}{declined}"
    )


def main() -> None:
    """Print the table and what follows from it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--num-examples", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--inits", type=int, default=4)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--replicas", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    spacetime = gn.Spacetime(given.num_examples, given.batch_size, epochs=given.epochs)
    keys = jax.random.split(jax.random.key(given.seed), 3)
    print("model           predicted (between starts, within)        simulated            |G|^2     l + gap   ratio")
    promised, came = [], []
    for place, (name, make) in enumerate(CANDIDATES.items()):
        problem, own = make(), jax.random.fold_in(keys[0], place)
        promised.append(outlook(problem, spacetime, given.learning_rate, own, given.inits, given.draws, name))
        runs = jax.random.fold_in(keys[1], place)
        came.append(simulated(problem, spacetime, given.learning_rate, runs, given.inits, given.replicas))
        print(row(name, promised[-1], came[-1]), flush=True)
    for score in ("predicted", "optimization_ease", "architecture"):
        print(f"{score}: {agreement(promised, came, keys[2], score).sentence}")


if __name__ == "__main__":
    main()

"""Better schedules from the predicted loss and its gradient, checked by simulation.

    python examples/improve_schedule.py                          # softmax regression on digits, one minute on two cores
    python examples/improve_schedule.py --pool 500 --steps 80 --batch 40 --mean-batch 160

One epoch of SGD at a constant learning rate and batch size is improved twice: projected gradient steps on the learning
rates at `--batch`, and the closed-form best batch sizes for as many examples as a constant `--mean-batch`. (That one is
larger: batches fall to a quarter of it, and what the prediction leaves out goes as 1 / batch size squared.) Both gains
are predicted, exactly or by probes that took no part in the search, and simulated with the same training sets before
and after.
"""

import argparse
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gradnoise as gn
from gradnoise.estimate import Estimate, from_samples


class BatchesByStep(NamedTuple):
    """One step of SGD on the first B_t examples of the batch of step t; the state is (params, t)."""

    problem: gn.Problem
    sizes: tuple[int, ...]

    def __call__(self, key: Any, state: Any, batches: Any, learning_rate: Any) -> Any:
        params, step = state
        size = jnp.asarray(self.sizes)[step]
        examples = jax.tree.map(lambda leaf: leaf[0], batches.examples)
        used = jnp.arange(batches.spacetime.batch_size) < size

        def loss(params: Any) -> jax.Array:
            losses = jax.vmap(self.problem.loss, (None, 0))(params, examples)
            return jnp.sum(jnp.where(used, losses, 0.0)) / size

        moved = jax.tree.map(lambda w, g: w - learning_rate * g, params, jax.grad(loss)(params))
        return moved, step + 1


def sgd_with_batches(problem: gn.Problem, sizes: Any) -> gn.Process:
    """SGD whose batch size is sizes[t] at step t, at most the spacetime's."""
    step = BatchesByStep(problem, tuple(int(size) for size in sizes))
    return gn.Process("batches by step", problem, lambda params: (params, jnp.array(0)), step, lambda state: state[0])


def improve_rates(
    gradient: Any, rates: np.ndarray, largest: float, num_iterations: int
) -> tuple[np.ndarray, list[float]]:
    """Projected gradient descent on the rates within [0, largest]; a step that does not help is halved."""
    found, length, losses = gradient(rates), largest, []
    for _ in range(num_iterations):
        slope = found.learning_rate.value
        direction = slope / np.abs(slope).max()
        trial = np.clip(rates - length * direction, 0.0, largest)
        try:
            ahead = gradient(trial)
        except ValueError:  # the path diverges
            ahead = None
        if ahead is not None and ahead.loss.value < found.loss.value:
            rates, found, length = trial, ahead, 1.5 * length
        else:
            length /= 3
        losses.append(float(found.loss.value))
    return rates, losses


def simulated_gain(before: gn.Process, after: gn.Process, rates: tuple[Any, Any], run: Any) -> Estimate:
    """Final test loss before minus after, the two run on the same training sets in the same order."""
    pairs = [run(process, learning_rate=rate) for process, rate in zip((before, after), rates, strict=True)]
    for runs in pairs:
        runs.mean("test_loss")
    first, second = (np.asarray(runs.observables["test_loss"], dtype=float)[:, -1] for runs in pairs)
    return from_samples(first - second)


def row(name: str, before: float, predicted: Estimate, simulated: Estimate) -> str:
    """One line of the table; z has the errors of both sides."""
    z = (simulated.value - predicted.value) / np.hypot(simulated.stderr, predicted.stderr)
    told = f"{predicted.value:.5f} +- {predicted.stderr:.5f}", f"{simulated.value:.5f} +- {simulated.stderr:.5f}"
    return f"{name:16s} {before:9.5f}   {told[0]:22s} {told[1]:22s} {predicted.value / before:7.1%} {z:7.2f}"


def main() -> None:
    """Improve, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {
        "pool": 150,
        "steps": 40,
        "batch": 20,
        "mean_batch": 80,
        "probes": 20,
        "iterations": 16,
        "seed": 0,
    }.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--replicas", type=int, default=2000)
    parser.add_argument("--judges", type=int, default=100, help="probes that predict the gain")
    parser.add_argument("--stages", type=int, default=5, help="stretches of constant batch size")
    parser.add_argument("--rate", type=float, default=0.5)
    parser.add_argument("--largest", type=float, default=1.0, help="largest learning rate allowed")
    options = parser.parse_args()
    keys = jax.random.split(jax.random.key(options.seed), 4)
    problem = gn.testbeds.problem("digits-logistic", num_pool=options.pool)
    params = problem.init(keys[0])
    spacetime = gn.Spacetime(options.steps * options.batch, options.batch)
    constant = np.full(options.steps, options.rate)
    probes = partial(gn.schedule_gradient, problem, params, spacetime, method="probes")
    search = partial(probes, num_probes=options.probes, key=keys[1])
    judge = partial(
        gn.predict_path, problem, params, spacetime, method="probes", num_probes=options.judges, key=keys[2]
    )

    better, losses = improve_rates(
        lambda rates: search(learning_rate=rates), constant, options.largest, options.iterations
    )
    paths = [judge(learning_rate=rates) for rates in (constant, better)]
    curves = [path.curve("test") for path in paths]
    samples = [path.one_loop_samples("test", spacetime)[:, -1] for path in paths]
    noise = from_samples(samples[0] - samples[1])  # the same probes
    gain = Estimate(paths[0].path_test[-1] - paths[1].path_test[-1] + noise.value, noise.stderr, noise.num_samples)

    attribution = gn.step_attribution(problem, params, spacetime, options.rate, method="dense")
    batches = gn.best_batch_schedule(attribution, options.steps * options.mean_batch, num_stages=options.stages)

    run = partial(
        gn.simulate, params=params, num_replicas=options.replicas, key=keys[3], every=options.steps, dtype="float32"
    )
    sgd, largest = gn.sgd(problem), int(max(batches.batch_sizes.max(), options.mean_batch))
    wide = gn.Spacetime(options.steps * largest, largest)
    rates = simulated_gain(sgd, sgd, (constant, better), partial(run, spacetime=spacetime))
    before, after = (
        sgd_with_batches(problem, sizes) for sizes in (np.full(options.steps, options.mean_batch), batches.batch_sizes)
    )
    sizes = simulated_gain(before, after, (options.rate, options.rate), partial(run, spacetime=wide))

    print(f"{options.steps} steps of SGD on {problem.name} at learning rate {options.rate:g}")
    print("search:", " ".join(f"{loss:.4f}" for loss in losses))
    print("rates:", " ".join(f"{rate:.2g}" for rate in better))
    print("batch sizes:", *batches.batch_sizes)
    print(attribution)
    print(*(f"{name}: {curve.domain}" for name, curve in zip(("before", "after"), curves, strict=True)), sep="\n")
    print(
        f"{'final test loss':16s} {'before':>9s}   {'predicted gain':22s} {'simulated gain':22s} {'share':>7s} {'z':>7s}"
    )
    print(row("learning rates", float(curves[0].value[-1]), gain, rates))
    print(row("batch sizes", float(batches.constant_loss.value), batches.saving, sizes))


if __name__ == "__main__":
    main()

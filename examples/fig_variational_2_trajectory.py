"""The weights of a tiny network at a small constant learning rate: Chaudhari and Soatto's section 4.2, and a test.

    python examples/fig_variational_2_trajectory.py --out trajectory.html                # digits, under a minute
    python examples/fig_variational_2_trajectory.py --data mnist.npz --num-epochs 100000 --burn-in 1000 \\
        --learning-rate 0.001 --weight-decay 0 --width 16 --num-pool 30000 --out trajectory.html

Spectrum of the increments and autocorrelation of the weights beside what reversible processes show, the norm of the
gradient, and whether the leading principal components circulate. The page beside it: docs/theory/trajectories.md.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from gradnoise import _tree
from gradnoise.autocorrelation import autocorrelation_time
from gradnoise.bootstrap import time_average
from gradnoise.dynamics import sgd
from gradnoise.dynamics.batches import index_block
from gradnoise.dynamics.reweighting import mean_gradient
from gradnoise.measure.irreversibility import Irreversibility, irreversibility_test
from gradnoise.measure.trajectory import increment_spectrum, weight_autocorrelation
from gradnoise.measure.trajectory_nulls import autoregression_increment_power
from gradnoise.problem import Problem
from gradnoise.process import Batches, Process
from gradnoise.report import figure as fig
from gradnoise.report.html import Html, element, escape, section, table
from gradnoise.report.page import filled
from gradnoise.report.words import interval, number, with_error
from gradnoise.spacetime import SAMPLINGS, Spacetime
from gradnoise.testbeds.datasets import Data, digits, load_npz
from gradnoise.testbeds.image_problems import image_problem

SEGMENT = 100
"""Records a call of compiled code."""
LEVEL = 0.05
DIFFERS = (
    "What differs from the paper, which takes MNIST reduced to 7 x 7, 30,000 images of 5 classes, 16 hidden units, about "
    "100,000 epochs at a learning rate of 0.001 and Nesterov's momentum 0.9: by default these are 8 x 8 digits, some 900 of "
    "5 classes, 8 hidden tanh units, and a larger rate, so that 15,000 epochs hold over a thousand relaxation times; there "
    "is weight decay, without which weights that fit their images grow without end and are at no stationary state; and "
    "batches are drawn with replacement, for the noise of shuffled batches nearly cancels in each epoch. "
    "Neither the spectrum nor the autocorrelation tells an equilibrium from a current; the test of time reversal is ours."
)


class Run(NamedTuple):
    """What was recorded after the burn-in."""

    weights: np.ndarray
    """(record, weight), float32; weights of inputs that are always zero are left out."""
    loss: np.ndarray
    """(record,): training loss without the decay."""
    norms: np.ndarray
    """(record, 2): |grad L|/sqrt(d) and |grad L + weight_decay theta|/sqrt(d)."""


class Circulation(NamedTuple):
    """The test of time reversal on the leading components, and what it would have seen."""

    test: Irreversibility
    low: float
    high: float
    """95 % interval of the antisymmetric lag covariance of the first two components."""
    relaxation: float
    """Records in which the slower of them forgets: half its integrated autocorrelation time."""
    stated: float
    """What that covariance would be for the stated rotation."""
    power: float
    """The probability with which that would have been found."""


def reduced(data: Data) -> Data:
    """Square images whose side is a multiple of 7, averaged to 7 x 7; others as they are."""
    side = round(data.num_features**0.5)
    if side**2 != data.num_features or side % 7 or side == 7:
        return data
    patches = data.pool["x"].reshape(-1, 7, side // 7, 7, side // 7)
    return data._replace(pool={**data.pool, "x": patches.mean((2, 4)).reshape(-1, 49)}, test_pool=None, num_features=49)


def network(data: Data, options: argparse.Namespace) -> Problem:
    """One hidden tanh layer on images of the first classes, as many as fill whole batches."""
    images = int((data.pool["y"] < options.num_classes).sum())
    kept = min(images, options.num_pool or images) // options.batch_size * options.batch_size
    return image_problem(data, "mlp", options.num_classes, kept, width=options.width)


def record(problem: Problem, options: argparse.Namespace) -> Run:
    """Burn-in and the run, recorded after every `every` epochs."""
    process = sgd(problem, options.momentum, nesterov=options.momentum > 0, weight_decay=options.weight_decay)
    pool = _tree.cast(problem.pool, jnp.float32)
    pattern = Spacetime(_tree.num_examples(pool), options.batch_size, options.every, options.sampling)
    start, batches = jax.random.split(jax.random.key(options.seed))
    state = process.init(problem.init(start))
    discarded, kept = (-(-epochs // options.every) for epochs in (options.burn_in, options.num_epochs))
    parts = []
    for first in range(0, discarded + kept, SEGMENT):
        rate = jnp.float32(options.learning_rate)
        state, part = segment(process, pattern, options.weight_decay, state, pool, rate, batches, first)
        if not np.isfinite(np.asarray(part[0])).all():
            raise SystemExit(f"learning_rate={options.learning_rate:g}: the weights diverged. Give a smaller one.")
        parts.append(jax.tree.map(np.asarray, part))
    whole = Run(*(np.concatenate(each)[discarded : discarded + kept] for each in zip(*parts, strict=True)))
    spread = whole.weights.std(axis=0, dtype=float)
    return whole._replace(weights=whole.weights[:, spread > 1e-6 * spread.max()])


@partial(jax.jit, static_argnums=(0, 1, 2))
def segment(
    process: Process, pattern: Spacetime, decay: float, state: Any, pool: Any, rate: Any, key: Any, first: Any
) -> tuple[Any, tuple[jax.Array, ...]]:
    """SEGMENT records further: the state, and the fields of `Run`."""
    loss_of = jax.vmap(process.problem.loss, in_axes=(None, 0))

    def one_step(state: Any, drawn: Any) -> Any:
        rows, own = drawn
        return process.step(own, state, Batches(_tree.take(pool, rows), pool, pattern), rate), None

    def one_record(state: Any, place: Any) -> Any:
        rows = index_block(pattern, key, place * pattern.num_steps, pattern.num_steps)
        keys = jax.random.split(jax.random.fold_in(key, place), len(rows))
        state, _ = jax.lax.scan(one_step, state, (rows, keys))
        params = process.params(state)
        weights, gradient = (
            jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])
            for tree in (params, mean_gradient(process.problem, params, pool))
        )
        norms = jnp.stack([jnp.sqrt(jnp.mean(g**2)) for g in (gradient, gradient + decay * weights)])
        return state, (weights, jnp.mean(loss_of(params, pool)), norms)

    return jax.lax.scan(one_record, state, first + jnp.arange(SEGMENT))


def circulation(weights: np.ndarray, num_components: int, rotation: float, seed: int = 0) -> Circulation:
    """Whether the leading components circulate.

    Two components of unit variance that turn by `rotation` radians in a relaxation time of r records have x' = A x + e with
    A - A^T = 2 rotation/r: their antisymmetric lag covariance. The power is that of a non-central t statistic of as many
    blocks at the run's own error, its level shared out among the pairs of components (docs/theory/trajectories.md).
    """
    test = irreversibility_test(weights, num_components, level=LEVEL, seed=seed)
    scores = (weights - weights.mean(axis=0)) @ test.directions[:2].T
    relaxation = max(autocorrelation_time(score) for score in scores.T) / 2
    value, error = float(test.antisymmetry.value[0, 1]), float(test.antisymmetry.stderr[0, 1])
    stated, freedom = 2 * rotation / relaxation, max(test.num_blocks - 1, 1)
    reach = float(stats.t.ppf(1 - LEVEL / 2, freedom)) * error
    share = 1 - (1 - LEVEL) ** (2 / (num_components * (num_components - 1)))
    bound = stats.t.ppf(1 - share / 2, freedom)
    scales = np.sqrt(stats.chi2.ppf((np.arange(1000) + 0.5) / 1000, freedom) / freedom) * bound
    power = np.mean(stats.norm.sf(scales - stated / error) + stats.norm.cdf(-scales - stated / error))
    return Circulation(test, value - reach, value + reach, relaxation, stated, float(power))


def sentence(found: Circulation, rotation: float) -> str:
    """The finding on the first two components, with its interval."""
    value, error = (float(part[0, 1]) for part in (found.test.antisymmetry.value, found.test.antisymmetry.stderr))
    said = (
        f"Antisymmetric lag covariance of the first two components {with_error(value, error)} "
        f"(95 %: {interval(found.low, found.high)}): {found.test.conclusion.rstrip('.')}."
    )
    if np.isnan(found.test.p_value):
        return said
    likely = "above 0.999" if found.power > 0.999 else number(found.power)
    turned = interval(*(0.5 * found.relaxation * end for end in (found.low, found.high)))
    return (
        f"{said} They turn by {turned} rad in a relaxation time of {number(found.relaxation)} records; "
        f"{number(rotation)} rad would have been found with probability {likely}."
    )


def strongest(found: Circulation) -> str:
    """The test's conclusion on all components, and the pair that turns most."""
    value, error = found.test.antisymmetry.value, found.test.antisymmetry.stderr
    said = f"All {len(value)} together: {found.test.conclusion.rstrip('.')}"
    if np.isnan(found.test.p_value):
        return f"{said}."
    first, second = np.triu_indices(len(value), 1)
    most = np.argmax(np.abs(value[first, second]) / error[first, second])
    i, j = int(first[most]), int(second[most])
    return f"{said}; most between components {i + 1} and {j + 1}, {with_error(value[i, j], error[i, j])}."


def binned(frequency: np.ndarray, *values: np.ndarray) -> list[np.ndarray]:
    """Means over bins of equal width on a log axis, empty ones left out; the first is the frequency's."""
    edges = np.geomspace(frequency[1], frequency[-1], 81)
    place = np.digitize(frequency[1:-1], edges)
    counts = np.bincount(place)
    return [np.bincount(place, each[1:-1])[counts > 0] / counts[counts > 0] for each in (frequency, *values)]


def spectrum_figure(run: Run, every: int) -> Html:
    """Amplitudes of the increments, with white increments and each weight's own autoregression."""
    found = increment_spectrum(run.weights, hann=True, records_per_epoch=1 / every)
    x, mean, spread = binned(found.frequency, found.amplitude.value, found.spread)
    white, pulled = null_amplitudes(run.weights, x * every)
    traces = [
        fig.band(x, np.maximum(mean - spread, mean / 20), mean + spread, "@order2", "run"),
        fig.line(x, mean, "the run: mean over weights, ± sd", "@order2", legendgroup="run"),
        fig.line(x, white, "white increments (Brownian motion)", "@order0", dash="dash"),
        fig.line(x, pulled, "each weight its own autoregression", "@order1", dash="dot"),
    ]
    low, high = min(mean.min(), pulled.min()), max((mean + spread).max(), white.max())
    across, up = fig.decades(x[0], x[-1]), fig.decades(low, high)
    axes = fig.axis("cycles per epoch", "log", **across), fig.axis("amplitude", "log", **up)
    told = "Fourier amplitudes of the weights' increments (Hann window), means over bins of frequency."
    return fig.figure("increments", told, told, {"all": fig.variant(traces, *axes)}, 400)


def null_amplitudes(weights: np.ndarray, frequency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean amplitudes, at `frequency` in cycles a record, of white increments and of autoregressions fitted at lag 1.

    Both have each weight's own variance v of increments: power v, and v (1 + a)/2 times that of the autoregression.
    """
    rows = weights - weights.mean(axis=0, dtype=float)
    coefficients = np.clip(np.sum(rows[1:] * rows[:-1], axis=0) / np.sum(rows**2, axis=0), -1 + 1e-9, 1 - 1e-9)
    deviations = np.diff(rows, axis=0).std(axis=0) * np.sqrt(np.pi) / 2
    pulled = [
        deviation * np.sqrt((1 + a) / 2 * autoregression_increment_power(float(a), frequency))
        for a, deviation in zip(coefficients, deviations, strict=True)
    ]
    return np.full(len(frequency), deviations.mean()), np.mean(pulled, axis=0)


def autocorrelation_figure(run: Run, max_lag: int, every: int) -> Html:
    """Autocorrelation of the weights, with the white-noise band and Bartlett's around the fitted autoregression."""
    found = weight_autocorrelation(run.weights, min(max_lag, len(run.weights) // 4))
    keep = fig.thinned(len(found.spread))
    epochs, mean, spread = keep * every, found.autocorrelation.value[keep], found.spread[keep]
    pulled, reach = found.autoregression[keep], found.autoregression_band[keep]
    white = np.full(len(keep), found.white_noise_band)
    a = number(float(found.coefficient.value))
    traces = [
        fig.band(epochs, -white, white, "@order0", "white", 0.35),
        fig.line(epochs, 0 * white, "independent numbers, 99 % band", "@order0", legendgroup="white"),
        fig.band(epochs, pulled - reach, pulled + reach, "@order1", "pulled"),
        fig.line(epochs, pulled, f"autoregression, a = {a}, 99 % band of one weight", "@order1", legendgroup="pulled"),
        fig.band(epochs, mean - spread, mean + spread, "@order2", "run"),
        fig.line(epochs, mean, "the run: mean over weights, ± sd", "@order2", legendgroup="run"),
    ]
    told = "Autocorrelation of the weights. The narrow band is that of white noise, which weights never are."
    axes = fig.axis("lag, epochs"), fig.axis("autocorrelation")
    return fig.figure("autocorrelation", told, told, {"all": fig.variant(traces, *axes)}, 400)


def norm_figure(run: Run, every: int) -> Html:
    """The normalized norm of the whole set's gradient along the run."""
    keep = fig.thinned(len(run.norms))
    names = ("gradient of the training loss", "with weight decay")
    traces = [
        fig.line(keep * every, run.norms[keep, i], names[i], paint, width=1)
        for i, paint in enumerate(("@order2", "@order1"))
    ]
    told = "Norm of the gradient of the whole training set over the square root of the number of weights."
    axes = fig.axis("epochs after the burn-in"), fig.axis("|gradient|/√d", rangemode="tozero")
    return fig.figure("gradient-norm", told, told, {"all": fig.variant(traces, *axes)}, 340)


def plane_figure(run: Run, found: Circulation) -> Html:
    """The first records of the run in the plane of the two leading components."""
    scores = (run.weights - run.weights.mean(axis=0)) @ found.test.directions[:2].T
    shown = scores[: fig.MOST_POINTS] / np.sqrt(found.test.variances[:2])
    told = f"The first {len(shown)} records along the two leading principal components, in standard deviations."
    axes = fig.axis("first component"), fig.axis("second component", scaleanchor="x")
    path = fig.line(shown[:, 0], shown[:, 1], "the run", "@order2", width=1)
    return fig.figure("plane", told, told, {"all": fig.variant([path], *axes)}, 460)


def numbers(found: list[Circulation]) -> Html:
    """The test on each number of components."""
    head = [
        "Components", "p value", "Blocks", "Records a block", "Antisymmetric lag covariance of the first two", "95 %",
        "For the stated rotation", "Power",
    ]  # fmt: skip
    rows = [
        [
            len(one.test.directions),
            number(one.test.p_value),
            one.test.num_blocks,
            one.test.block_length,
            with_error(one.test.antisymmetry.value[0, 1], one.test.antisymmetry.stderr[0, 1]),
            interval(one.low, one.high),
            number(one.stated),
            number(one.power),
        ]
        for one in found
    ]
    return table(head, rows, numeric=range(8))


def page(title: str, *parts: Html) -> str:
    """One HTML file that needs no network, in the report's style."""
    made = element("p", "Made by examples/fig_variational_2_trajectory.py; docs/theory/trajectories.md.")
    return filled(title, element("header", element("h1", title)), escape(parts), made)


def still(run: Run) -> str:
    """How much the training loss moved between the halves of the run."""
    half = len(run.loss) // 2
    first, second = time_average(run.loss[:half]), time_average(run.loss[half:])
    moved, error = float(second.value - first.value), float(np.hypot(first.stderr, second.stderr))
    level = number(float(run.loss.mean()), 4)
    return (
        f"Training loss {level}; from the first half of the run to the second it moved by {with_error(moved, error)}."
    )


def arguments_of(arguments: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        help="an .npz file of square images; sides that 7 divides are averaged to 7 (default: digits)",
    )
    add("--out", type=Path, help="the page to write (default: none)")
    add("--num-epochs", type=int, default=15_000, help="epochs after the burn-in (default 15000)")
    add("--burn-in", type=int, default=6000, help="epochs that are discarded (default 6000)")
    add("--every", type=int, default=1, help="epochs between records, which are kept in memory (default 1)")
    add("--learning-rate", type=float, default=0.02, help="constant (default 0.02; the paper's is 0.001)")
    add("--momentum", type=float, default=0.9, help="Nesterov's (default 0.9)")
    add("--weight-decay", type=float, default=0.01, help="coupled; 0 has no stationary state (default 0.01)")
    add("--batch-size", type=int, default=32)
    add("--sampling", choices=SAMPLINGS, default="with_replacement", help="default with_replacement, as in the theory")
    add("--width", type=int, default=8, help="hidden tanh units (default 8)")
    add("--num-classes", type=int, default=5)
    add("--num-pool", type=int, help="images trained on (default: all that fill whole batches)")
    add("--rotation", type=float, default=0.2, help="stated for the power, rad in a relaxation time (default 0.2)")
    add("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run, print the finding, write the page."""
    options = arguments_of(arguments)
    problem = network(reduced(digits() if options.data is None else load_npz(options.data)), options)
    run = record(problem, options)
    told = f"{run.weights.shape[1]} moving weights, {len(run.weights)} records, {problem.num_pool} images"
    print(f"{told}. {still(run)}")
    found = [circulation(run.weights, count, options.rotation, options.seed) for count in (2, 4)]
    said = [sentence(found[0], options.rotation), strongest(found[1])]
    print(*said, sep="\n")
    if options.out is not None:
        lags = 5 * int(np.nan_to_num(found[0].relaxation, posinf=1e6) + 1)
        shown = spectrum_figure(run, options.every), autocorrelation_figure(run, lags, options.every)
        shown = *shown, norm_figure(run, options.every), plane_figure(run, found[0])
        words = element("p", f"{told}. {still(run)}"), element("p", element("strong", said[0])), element("p", said[1])
        title = "Weights of a tiny network at a constant learning rate"
        text = page(title, section("trajectory", "What it does", *words, numbers(found), *shown, element("p", DIFFERS)))
        options.out.write_text(text, encoding="utf-8")
        print(options.out)


if __name__ == "__main__":
    main()

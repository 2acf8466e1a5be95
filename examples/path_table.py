"""How well `predict_path` predicts: one loop beside simulated SGD, row by row; the table of docs/theory/loop_table.md.

    python examples/path_table.py --quick                                  # three small rows
    python examples/path_table.py --mnist mnist.npz --out path_table.jsonl
    python examples/path_table.py --out path_table.jsonl                   # again: goes on where it stopped

Each finished row is added to the file of --out; a rerun skips those. Rows with the convolutional network need MNIST (an
.npz with x_train, y_train) and are left out without it. Runs are simulated in float32: its rounding is far below the errors.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import gradnoise as gn
from gradnoise.testbeds import networks

RowDict = dict[str, Any]


class Case(NamedTuple):
    """One path, and the batch sizes to simulate: N = batch_size * steps_per_epoch. `num_probes` None: dense, exact."""

    problem: str
    learning_rate: float
    steps_per_epoch: int
    epochs: int
    batch_sizes: tuple[int, ...]
    momentum: float = 0.0
    num_probes: int | None = None
    sampling: str = "fixed"
    training_set: str = "drawn"

    def spacetime(self, batch_size: int) -> gn.Spacetime:
        """The grid of one row."""
        return gn.Spacetime(self.steps_per_epoch * batch_size, batch_size, self.epochs, self.sampling)


FULL = (
    Case("softmax", 0.5, 20, 5, (1, 2, 5, 10, 20, 40)),
    Case("mlp tanh", 0.5, 20, 5, (2, 5, 10, 20, 40), num_probes=300),
    Case("conv tanh", 0.3, 20, 3, (2, 5, 20, 60), num_probes=150),
    Case("mlp gelu", 0.2, 20, 5, (2, 5, 20), num_probes=300),
    Case("softmax of 64", 0.5, 16, 5, (4,), sampling="reshuffle", training_set="given"),
    Case("mlp tanh of 64", 0.5, 16, 5, (4,), num_probes=300, sampling="reshuffle", training_set="given"),
    Case("mlp tanh", 0.05, 20, 5, (2, 10, 40), momentum=0.9, num_probes=300),
    Case("conv gelu", 0.05, 20, 3, (1, 5), num_probes=100),
    Case("softmax", 1.2, 20, 5, (2, 5, 20, 40)),
    Case("mlp gelu", 0.4, 20, 5, (5, 20, 80), num_probes=300),
    Case("conv tanh", 0.05, 20, 3, (2, 10), momentum=0.9, num_probes=100),
    Case("softmax held out", 0.5, 20, 5, (5, 20)),
    Case("mlp tanh", 0.1, 100, 1, (1, 2, 5, 20), num_probes=200),
    Case("softmax", 0.5, 100, 1, (2, 5, 10, 20)),
    Case("mlp tanh held out", 0.3, 20, 5, (5, 20), num_probes=200),
    Case("conv tanh", 0.9, 20, 3, (5, 20, 100), num_probes=100),
    Case("softmax", 0.05, 20, 5, (1, 2, 10)),
    Case("softmax of 64", 0.1, 64, 2, (1,), sampling="reshuffle", training_set="given"),
    Case("softmax of 64", 0.5, 4, 10, (16,), sampling="reshuffle", training_set="given"),
    Case("mlp tanh", 0.05, 20, 5, (1, 5), num_probes=200),
    Case("mlp tanh", 0.2, 20, 1, (1, 2, 10), num_probes=300),
    Case("mlp tanh", 0.5, 10, 10, (5, 20), num_probes=200),
    Case("softmax", 0.05, 20, 5, (2, 10, 40), momentum=0.9, num_probes=200),
    Case("conv gelu", 0.1, 20, 4, (5, 20, 100), num_probes=100),
    Case("conv tanh of 60", 0.3, 12, 5, (5,), num_probes=150, sampling="reshuffle", training_set="given"),
    Case("mlp gelu", 0.05, 20, 5, (5, 20), momentum=0.9, num_probes=200),
    Case("softmax", 0.5, 10, 10, (2, 5, 20, 100)),
    Case("mlp tanh", 0.5, 20, 5, (10,), num_probes=200, sampling="reshuffle"),
    Case("conv tanh", 0.05, 20, 3, (1, 5), num_probes=100),
    Case("mlp tanh of 64", 0.05, 8, 5, (8,), momentum=0.9, num_probes=200, sampling="reshuffle", training_set="given"),
    Case("softmax", 0.1, 100, 1, (1, 2, 5)),
    Case("softmax", 0.5, 20, 3, (10,), sampling="reshuffle", training_set="distinct"),
)
QUICK = (
    Case("small mlp", 0.3, 5, 2, (2, 8)),
    Case("small mlp", 0.1, 6, 2, (2,), 0.9, 50, "reshuffle", "given"),
)
PROBLEMS: Mapping[str, Callable[[], gn.Problem]] = {
    "softmax": lambda: gn.testbeds.digits_logistic(256),
    "softmax held out": lambda: gn.testbeds.digits_logistic(256, num_test=300),
    "softmax of 64": lambda: gn.testbeds.digits_logistic(64),
    "mlp tanh": lambda: gn.testbeds.digits_mlp(256, width=16),
    "mlp tanh held out": lambda: gn.testbeds.digits_mlp(256, num_test=300, width=16),
    "mlp tanh of 64": lambda: gn.testbeds.digits_mlp(64, width=16),
    "mlp gelu": lambda: gn.testbeds.digits_mlp(256, width=16, activation="gelu"),
    "small mlp": lambda: gn.testbeds.digits_mlp(12, width=2),
}


def make_problem(name: str, mnist: Path | None) -> gn.Problem | None:
    """The problem `name`; None where it needs MNIST and there is none."""
    if not name.startswith("conv"):
        return PROBLEMS[name]()
    if mnist is None:
        return None
    activation, size = name.split()[1], 60 if name.endswith("of 60") else 300
    with np.load(mnist, allow_pickle=False) as arrays:
        x, y = arrays["x_train"][:size].astype(np.float32), arrays["y_train"][:size].astype(np.int32)
    x = x.reshape(size, 14, 2, 14, 2).mean((2, 4)).reshape(size, -1)
    model = networks.conv(14 * 14, 10, channels=6, activation=activation)
    return gn.from_arrays(model.loss, model.init, {"x": (x - x.mean()) / x.std(), "y": y}, name)


def rows_of(case: Case, problem: gn.Problem, done: list[RowDict]) -> Iterator[RowDict]:
    """The rows of a path that are not in `done`."""
    heads = [_head(case, batch, problem) for batch in case.batch_sizes]
    todo = [row for row in heads if not any(all(old.get(name) == row[name] for name in row) for old in done)]
    if not todo:
        return
    params, start = problem.init(jax.random.key(0)), time.perf_counter()
    prediction = gn.predict_path(
        problem, params, case.spacetime(case.batch_sizes[0]), case.learning_rate, case.momentum,
        method="dense" if case.num_probes is None else "probes", num_probes=case.num_probes,
        training_set=case.training_set, key=jax.random.key(1), keep_displacement=True,
    )  # fmt: skip
    known = {"rate_times_curvature": case.learning_rate * max_curvature(problem, params, prediction.path_weights)}
    known |= {"path_seconds": time.perf_counter() - start}
    for row in todo:
        start = time.perf_counter()
        found = _simulated(case, row, problem, params, prediction, jax.random.key(2))
        yield row | found | known | {"seconds": time.perf_counter() - start}


def _head(case: Case, batch_size: int, problem: gn.Problem) -> RowDict:
    grid = case.spacetime(batch_size)
    work = 1_000_000 if case.problem.startswith("conv") else 4_000_000  # forward passes of one example, about
    cost = 3 * grid.num_steps * batch_size + len(jax.tree.leaves(problem.pool)[0])
    return case._asdict() | {
        "batch_sizes": None, "batch_size": batch_size, "num_examples": grid.num_examples, "num_steps": grid.num_steps,
        "setting": "this training set" if case.training_set == "given" else problem.setting,
        "num_replicas": int(np.clip(work // cost, 200, 4000)),
    }  # fmt: skip


def max_curvature(problem: gn.Problem, params: Any, path: Any) -> float:
    """The largest eigenvalue of the mean hessian at five places of the path."""
    _, unflatten = ravel_pytree(params)
    places = path[np.linspace(0, len(path) - 1, 5).astype(int)]
    found = [gn.hessian_extremes(problem, unflatten(jnp.asarray(w, jnp.float32))).largest.value for w in places]
    return float(np.max(found))


def _simulated(case: Case, row: RowDict, problem: gn.Problem, params: Any, prediction: Any, key: Any) -> RowDict:
    """Simulation, prediction and how they differ, at the last step, for test loss and gap."""
    batch, grid = row["batch_size"], case.spacetime(row["batch_size"])
    sizes = {"batch_size": batch, "num_examples": grid.num_examples}
    runs = gn.simulate(
        gn.sgd(problem, momentum=case.momentum), params, grid, case.learning_rate, row["num_replicas"], key,
        every=grid.num_steps, training_set=case.training_set,
    )  # fmt: skip
    found: RowDict = {"num_diverged": int(np.sum(runs.diverged_at >= 0))}
    for target, scale in {"test": batch**2, "gap": batch * grid.num_examples}.items():  # scale of the next order
        curve = prediction.curve(target, **sizes)
        value, error = float(curve.value[-1]), float(curve.stderr[-1])
        if target == "test":
            found |= {"noise_share": float(curve.domain.share[-1]), "inside": curve.domain.end is None}
            base = curve.partial_sums.value[:, 0]
            found |= {"path": float(base[-1]), "drop": float(abs(base[0] - base[-1]))}
            found |= {"spread": float(np.abs(prediction.curve("variance", **sizes).value[-1]) ** 0.5)}
        found |= {target: None, f"{target}_predicted": value, f"{target}_predicted_se": error}
        if found["num_diverged"] or not np.any(curve.value):  # the gap of a given set is zero
            continue
        mean = runs.mean({"test": "test_loss"}.get(target, target))
        both = float(np.hypot(error, mean.stderr[-1]))
        found |= {target: float(mean.value[-1]), f"{target}_se": float(mean.stderr[-1])}
        found |= {f"{target}_error": value / found[target] - 1, f"{target}_error_se": both / abs(found[target])}
        found |= {f"{target}_z": (found[target] - value) / both, f"{target}_c2": scale * (found[target] - value)}
        found |= {f"{target}_c2_se": scale * both}
    return found


def load(path: Path) -> list[RowDict]:
    """The rows of an earlier call."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def save(path: Path, rows: list[RowDict]) -> None:
    """All rows, one a line; the file is never seen half written."""
    part = path.with_name(path.name + ".part")
    part.write_text("".join(json.dumps(row) + "\n" for row in rows))
    part.replace(path)


def markdown(rows: list[RowDict]) -> str:
    """The rows as a table; errors of the last digits in brackets."""
    names = (
        "problem | eta, beta | tau, E | B | N | eta lambda | share | simulated | path | one loop | error % | z | c2 | gap | "
        "one loop | error % | z | c2 | inside | s"
    )
    lines = [f"| {names} |", "|---" * (names.count("|") + 1) + "|"]
    by = ("problem", "momentum", "learning_rate", "steps_per_epoch", "sampling", "batch_size")
    ordered = sorted(rows, key=lambda row: tuple(row[name] for name in by))
    return "\n".join(lines + [f"| {' | '.join(_cells(row))} |" for row in ordered])


def _cells(row: RowDict) -> Iterator[str]:
    extra = ", reshuffled" if row["sampling"] == "reshuffle" else ""
    yield row["problem"] + ("" if row["training_set"] == "drawn" else f", {row['training_set']}") + extra
    yield f"{row['learning_rate']:g}" + (f", {row['momentum']:g}" if row["momentum"] else "")
    yield f"{row['steps_per_epoch']}, {row['epochs']}"
    yield from (str(row["batch_size"]), str(row["num_examples"]))
    yield from (f"{row['rate_times_curvature']:.2f}", f"{row['noise_share']:.2g}")
    for target in ("test", "gap"):
        if row[target] is None:
            yield f"{row['num_diverged']} runs diverge" if row["num_diverged"] else ""
            yield from [""] * (5 if target == "test" else 4)
            continue
        yield _with_error(row[target], row[f"{target}_se"])
        if target == "test":
            yield f"{row['path']:.4g}"
        yield _with_error(row[f"{target}_predicted"], row[f"{target}_predicted_se"])
        yield f"{100 * row[f'{target}_error']:.1f}({100 * row[f'{target}_error_se']:.1f})"
        yield f"{row[f'{target}_z']:.1f}"
        yield _with_error(row[f"{target}_c2"], row[f"{target}_c2_se"])
    yield "yes" if row["inside"] else "no"
    yield f"{row['seconds']:.0f}"


def _with_error(value: float, error: float) -> str:
    """value(error), the error's two leading digits in units of the last one."""
    if error == 0 or error > 1e3 * abs(value):
        return f"{value:.4g}"
    digits = max(0, 1 - int(np.floor(np.log10(error))))
    return f"{value:.{digits}f}({error:.{digits}f})" if error >= 1 else f"{value:.{digits}f}({error * 10**digits:.0f})"


def summary(rows: list[RowDict]) -> str:
    """What the rows say, in words."""
    whole = [row for row in rows if row.get("test") is not None]
    inside = [row for row in whole if row["inside"]]
    lines = [f"{len(whole)} rows, {len(inside)} of them inside the domain (share at most 0.3)."]
    for target in ("test", "gap"):
        for low, high in ((0, 0.03), (0.03, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 1), (1, np.inf)):
            some = [r for r in whole if low < r["noise_share"] <= high]
            lines += _told(f"{target}, share {low:g} to {high:g}", target, some)
        for regime, belongs in REGIMES.items():
            lines += _told(f"{target}, inside, {regime}", target, [r for r in inside if belongs(r)])
    bad = [r for r in whole if abs(r["test_error"]) - 2 * r["test_error_se"] > 0.05]
    lines += [
        f"{sum(not r['inside'] and r['noise_share'] <= 0.3 for r in whole)} rows are outside on the way, not at the end.",
        f"Test loss is surely (2 se) off by more than 5% in {len(bad)} rows, {sum(not r['inside'] for r in bad)} outside.",
        f"{sum(bool(r['num_diverged']) for r in rows)} rows have runs that diverge.",
    ]
    return "\n".join(lines)


REGIMES: Mapping[str, Callable[[RowDict], bool]] = {
    "no momentum": lambda row: not row["momentum"] and row["setting"] == "population",
    "momentum 0.9": lambda row: row["momentum"] > 0,
    "held out": lambda row: row["setting"] == "held out",
    "given, reshuffled": lambda row: row["training_set"] == "given",
    "eta lambda > 1": lambda row: row["rate_times_curvature"] > 1,
    "share below 0.1": lambda row: row["noise_share"] < 0.1,
    "noise below 0.1 of loss and drop": lambda row: row["noise_share"] * max(1, row["path"] / row["drop"]) < 0.1,
}


def _told(head: str, target: str, rows: list[RowDict]) -> list[str]:
    rows = [row for row in rows if row[target] is not None]
    if not rows:
        return []
    worst = max(rows, key=lambda row: abs(row[f"{target}_error"]))
    share = np.mean([abs(row[f"{target}_z"]) < 3 for row in rows])
    error, width = (f"{100 * worst[f'{target}_error{part}']:.1f}" for part in ("", "_se"))
    where = f"{worst['problem']}, eta {worst['learning_rate']:g}, B {worst['batch_size']}"
    return [f"{head}: {len(rows)} rows, largest error {error}% (se {width}; {where}), {share:.0%} with |z| < 3."]


def main(arguments: list[str] | None = None) -> None:
    """Print table and summary; progress goes to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three small rows, under a minute")
    parser.add_argument("--mnist", type=Path, help="MNIST as .npz; without it no convolutional network")
    parser.add_argument("--out", type=Path, help="file of finished rows (JSON lines), to go on with")
    options = parser.parse_args(arguments)
    done = load(options.out) if options.out else []
    for case in QUICK if options.quick else FULL:
        problem = make_problem(case.problem, options.mnist)
        if problem is None:
            print(f"{case.problem}, eta {case.learning_rate:g}: left out, needs --mnist FILE.npz", file=sys.stderr)
            continue
        for row in rows_of(case, problem, list(done)):
            done.append(row)
            if options.out:
                save(options.out, done)
            print(*_cells(row), file=sys.stderr, flush=True)
    print(markdown(done), summary(done), sep="\n\n")


if __name__ == "__main__":
    main()

"""A results tree that follows the schema, from a loss whose series is known: for tests of files and pages."""

from math import factorial
from typing import Any

import numpy as np
import xarray as xr

from gradnoise.diagrams import Diagram, enumerate_diagrams
from gradnoise.results import build_tree
from gradnoise.results.meaning import meaning

STEPS = 60
RATES = (0.002, 0.004, 0.008, 0.016, 0.032)
TARGETS = ("test", "train", "gap")
ORDERS = 3
CURVE = ("target", "learning_rate", "step", "order")

ROOT: dict[str, Any] = {
    "problem": "digits-mlp",
    "setting": "population",
    "num_pool": 1797,
    "num_parameters": 2410,
    "kinks": "",
    "num_examples": 240,
    "batch_size": 8,
    "epochs": 2,
    "num_steps": STEPS,
    "sampling": "reshuffle",
    "momentum": 0.0,
    "seed": 0,
    "created": "2026-01-02T03:04:05+00:00",
    "python_version": "3.13.5",
    "jax_version": "0.10.0",
    "numpy_version": "2.3.0",
    "platform": "Linux x86_64",
    "device": "cpu",
    "num_devices": 2,
    "git_commit": "0123456789abcdef",
}


def results_tree(omit: tuple[str, ...] = (), measured: dict[str, Any] | None = None, **root: Any) -> xr.DataTree:
    """The tree; `omit` leaves groups out, `measured` sets attributes of that group, keywords set root attributes."""
    groups = {
        "measured": measured_group(),
        "predicted": predicted_group(),
        "simulated": simulated_group(),
        "compared": compared_group(),
        "path": path_group(),
    }
    groups["measured"].attrs |= measured or {}
    return build_tree({name: group for name, group in groups.items() if name not in omit}, {**ROOT, **root})


def exact_loss(target: str, rate: float, steps: np.ndarray, orders: int | None = None) -> np.ndarray:
    """1.1 + 1.2 exp(-x) + 0.02 x for x = 1.3 * rate * steps, or its series in the rate; the gap is 0.2 x exp(-x / 2)."""
    if target == "train":
        return exact_loss("test", rate, steps, orders) - exact_loss("gap", rate, steps, orders)
    x = 1.3 * rate * steps
    if orders is None:
        return 0.2 * x * np.exp(-x / 2) if target == "gap" else 1.1 + 1.2 * np.exp(-x) + 0.02 * x
    if target == "gap":
        return sum((0.2 * x * (-x / 2) ** k / factorial(k) for k in range(orders)), np.zeros_like(x))
    series = sum((1.2 * (-x) ** k / factorial(k) for k in range(orders + 1)), np.zeros_like(x)) + 1.1
    return series + (0.02 * x if orders >= 1 else 0.0)


def measured_group(seed: int = 1) -> xr.Dataset:
    """Diagrams through order 3 with made-up values; noise and curvature at start and end."""
    rng = np.random.default_rng(seed)
    diagrams = [
        d
        for order in range(ORDERS + 1)
        for each in enumerate_diagrams(order)
        for d in (each, *(t for t, _ in each.attach_root()))
    ]
    eigen = np.arange(1, 401)
    spectrum = np.stack([2.0 * eigen**-1.1 * np.exp(-eigen / 150), 0.3 * eigen**-1.7 * np.exp(-eigen / 80)])
    groups = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]
    scales = np.array([[30.0, 22.0, 41.0, 19.0], [350.0, 240.0, 610.0, 190.0]])
    both, by_group = "checkpoint", ("checkpoint", "group")
    variables: dict[str, Any] = {
        "value": ("entry", rng.normal(size=len(diagrams)) * [30.0**d.order for d in diagrams]),
        "value_se": ("entry", np.zeros(len(diagrams))),
        "noise_trace": (both, [9.1, 2.2]),
        "noise_trace_se": (both, [0.1, 0.06]),
        "gradient_norm_squared": (both, [0.29, 0.0051]),
        "gradient_norm_squared_se": (both, [0.01, 0.0007]),
        "simple_noise_scale": (both, [31.4, 431.0]),
        "simple_noise_scale_se": (both, [1.2, 60.0]),
        "simple_noise_scale_low": (both, [29.2, 340.0]),
        "simple_noise_scale_high": (both, [33.9, 590.0]),
        "group_noise_trace": (by_group, scales / 10),
        "group_noise_trace_se": (by_group, scales / 200),
        "group_gradient_norm_squared": (by_group, np.full((2, 4), 0.1)),
        "group_gradient_norm_squared_se": (by_group, np.full((2, 4), 0.004)),
        "group_simple_noise_scale": (by_group, scales),
        "group_simple_noise_scale_se": (by_group, scales / 15),
        "eigenvalue": ((both, "eigen"), spectrum),
        "rank": (both, [400, 380]),
        "participation_ratio": (both, [14.2, 5.1]),
        "stable_rank": (both, [6.0, 3.2]),
        "hessian_max": (both, [3.1, 7.4]),
        "hessian_max_se": (both, [0.0, 0.0]),
        "curvature_limit": (both, [2 / 3.1, 2 / 7.4]),
        "baseline_step": (both, [0, 600]),
        "test_loss": (both, [2.31, 0.62]),
    }
    coords = {
        "diagram": ("entry", [str(d) for d in diagrams]),
        "root": ("entry", ["pool"] * len(diagrams)),
        "order": ("entry", [d.order for d in diagrams]),
        "meaning": ("entry", [meaning(d) for d in diagrams]),
        "checkpoint": ["start", "end"],
        "group": groups,
        "eigen": eigen,
    }
    attrs = {
        "baseline_batch_size": 8,
        "baseline_learning_rate": 0.1,
        "baseline_steps": 600,
        "scale_invariant": False,
        "rank_threshold": 1e-12,
    }
    return xr.Dataset(variables, coords, attrs)


def predicted_group() -> xr.Dataset:
    """Partial sums by order, with a small error; coefficients; a factor for every diagram."""
    steps = np.arange(STEPS + 1)
    loss = np.array(
        [[np.stack([exact_loss(t, r, steps, k) for k in range(ORDERS + 1)], -1) for r in RATES] for t in TARGETS]
    )
    measured = measured_group()
    tied = np.array([Diagram.parse(str(d)).is_root_tied for d in measured["diagram"].values])
    signs = (-1.0) ** measured["order"].values * (1 + np.arange(tied.size) % 7)
    factor = np.stack([np.where(tied, 0, signs), signs, np.where(tied, -signs, 0)])
    variables = {
        "loss": (CURVE, loss),
        "loss_se": (CURVE, 0.002 * np.abs(loss - loss[..., :1, :])),
        "coefficient": (("target", "order"), np.ones((3, ORDERS + 1))),
        "coefficient_se": (("target", "order"), np.zeros((3, ORDERS + 1))),
        "factor": (("target", "entry"), factor),
    }
    return xr.Dataset(variables, _coords(steps), {"licensed_order": ORDERS})


def simulated_group(seed: int = 2) -> xr.Dataset:
    """The exact loss with a little noise, recorded every fifth step."""
    steps, rng = np.arange(0, STEPS + 1, 5), np.random.default_rng(seed)
    loss = np.array([[[exact_loss(t, r, steps) for r in RATES] for t in TARGETS]])
    error = np.broadcast_to(np.where(steps > 0, 4e-4, 1e-5), loss.shape) * np.array([1, 1.2, 0.4])[None, :, None, None]
    dims = ("process", "target", "learning_rate", "step")
    variables = {
        "loss": (dims, loss + 0.3 * error * rng.normal(size=loss.shape)),
        "loss_se": (dims, error),
        "num_replicas": (("process", "learning_rate"), np.full((1, len(RATES)), 4000)),
        "num_diverged": (("process", "learning_rate"), np.zeros((1, len(RATES)), dtype=int)),
    }
    coords = {**_coords(steps), "process": ["sgd"]}
    del coords["order"]
    return xr.Dataset(variables, coords)


def compared_group() -> xr.Dataset:
    """Differences of the two groups above, judged by simple rules."""
    simulated, predicted = simulated_group().sel(process="sgd", drop=True), predicted_group()
    loss = predicted["loss"].sel(step=simulated["step"])
    difference = (simulated["loss"] - loss).transpose(*CURVE)
    error = (simulated["loss_se"] + 0 * loss).transpose(*CURVE)
    last_term = np.abs(loss.diff("order").reindex(order=loss["order"], fill_value=0.0)).transpose(*CURVE)
    z = difference / error
    judged = ("target", "learning_rate", "order")
    worst, share = np.abs(z).max("step"), (np.abs(difference) > last_term).any("step")
    verdict = xr.where(
        worst < 3.6,
        xr.where(last_term.isel(step=-1) > 3.6 * error.isel(step=-1), "agrees", "statistical"),
        xr.where(share & (loss["order"] == 0), "disagrees", "truncation"),
    )
    expected = np.broadcast_to(np.arange(1.0, ORDERS + 2), (3, ORDERS + 1))
    last = ("target", "order", "learning_rate")
    data = xr.Dataset(
        {
            "difference": difference,
            "difference_se": error,
            "z": z,
            "last_term": last_term,
            "verdict": verdict.transpose(*judged),
            "band": worst.transpose(*judged) * 0 + 3.6,
            "residual": difference.isel(step=-1, drop=True).transpose(*last),
            "residual_se": error.isel(step=-1, drop=True).transpose(*last),
            "slope": (("target", "order"), expected - 0.04),
            "slope_low": (("target", "order"), expected - 0.2),
            "slope_high": (("target", "order"), expected + 0.11),
            "expected_slope": (("target", "order"), expected),
        }
    )
    return data


PATH_STEPS = 40
PATH_BATCHES = (2, 4, 8, 16, 32)


def path_group(seed: int = 3, **attrs: Any) -> xr.Dataset:
    """A whole run: l + c1/B, simulated with + 0.8/B^2 at the end; the two smallest batch sizes leave the domain."""
    steps, sizes = np.arange(PATH_STEPS + 1), np.array(PATH_BATCHES)
    quiet, slope = 0.2 + 2.3 * np.exp(-steps / 25), 1.2 * steps / PATH_STEPS
    rng, known = np.random.default_rng(seed), steps % 5 == 0
    base, noise = np.stack([quiet, 0 * steps]), np.stack([slope, 0.5 * slope])[None] / sizes[:, None, None]
    exact = base + noise + 0.8 * np.stack([slope, slope])[None] / 1.2 / sizes[:, None, None] ** 2
    error = np.broadcast_to(np.where(steps > 0, 0.002, 1e-6), exact.shape)
    simulated = np.where(known, exact + error * rng.normal(size=exact.shape), np.nan)
    last = (simulated - base - noise)[:, 0, -1]
    curve = ("batch_size", "target", "step")
    variables: dict[str, Any] = {
        "predicted": ((*curve, "loops"), np.stack([np.broadcast_to(base, noise.shape), base + noise], -1)),
        "predicted_se": ((*curve, "loops"), np.stack([0 * noise, 0.03 * noise], -1)),
        "simulated": (curve, simulated),
        "simulated_se": (curve, np.where(known, error, np.nan)),
        "path_loss": ("step", quiet),
        "in_domain": (("batch_size", "step"), (noise[:, 0] <= 0.3 * quiet).astype(int)),
        "test_coefficient": ("step", slope),
        "test_coefficient_se": ("step", 0.03 * slope),
        "num_replicas": ("batch_size", [300] * 5),
        "num_diverged": ("batch_size", [0] * 5),
        "residual_scaled": ("batch_size", sizes**2 * last),
        "residual_scaled_se": ("batch_size", sizes**2 * np.hypot(0.002, 0.036 / sizes)),
        "residual_level": ((), 0.81),
        "residual_level_se": ((), 0.2),
        "residual_level_p": ((), 0.47),
        "doubling_batch_size": ((), 88.5),
        "doubling_batch_size_se": ((), 2.7),
        "doubling_batch_size_low": ((), 83.2),
        "doubling_batch_size_high": ((), 93.9),
    }
    coords = {"batch_size": sizes, "target": ["test", "gap"], "step": steps, "loops": [0, 1]}
    told = {
        "num_steps": PATH_STEPS, "batch_size": 8, "learning_rate": 0.35, "curvature": 3.1, "method": "probes",
        "num_probes": 50, "licensed_loops": 1, "domain_bound": 0.3, "doubling_share": 0.01,
        "gradient_equivalents": 13400.0, "simulation_equivalents": 16.7, "simulation_runs": 27,
        "simulation_equivalents_all": 105.0,
    }  # fmt: skip
    return xr.Dataset(variables, coords, told | attrs)


def _coords(steps: np.ndarray) -> dict[str, Any]:
    return {"target": list(TARGETS), "learning_rate": list(RATES), "step": steps, "order": np.arange(ORDERS + 1)}

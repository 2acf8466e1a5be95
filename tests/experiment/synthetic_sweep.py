"""The results of a sweep made up from curves: what judge and page are tried on."""

import numpy as np
import xarray as xr

from gradnoise.results import build_tree, provenance

TEMPERATURES = np.array([0.005, 0.01, 0.02, 0.04, 0.08, 0.16])
RECORDS = 40


def planted_gap(T):
    return (4e-4 / T + 0.1) * np.exp(-T / 0.1)


def planted_train(T):
    return 0.1 + 2.0 * T


def planted_test(T):
    """Lowest at T = 0.03, as a parabola in log T."""
    return 0.4 + 0.05 * np.square(np.log(T / 0.03))


def series(level, noise, random, start=2.0):
    """(run, record): the start, a quick fall, and independent noise about `level` (run,)."""
    records = np.arange(RECORDS + 1)
    fall = (start - level)[:, None] * np.exp(-records * 2.0)
    return level[:, None] + fall + noise * random.normal(size=fall.shape) * (records > 0)


def sweep_results(
    gap=planted_gap,
    train=planted_train,
    variants=("plain",),
    batches=(4, 16),
    seeds=5,
    noise=1e-3,
    shift=lambda variant, T, batch: 0.0 * T,
    accuracy=True,
    seed=0,
    temperatures=TEMPERATURES,
    training_set="drawn",
):
    """A results tree with a sweep whose test loss is train + gap + a shift of variant, temperature and batch size."""
    random = np.random.default_rng(seed)
    cells = [(v, B, T) for v in variants for B in batches for T in temperatures]
    labels = [(*cell, s) for cell in cells for s in range(seeds)]
    variant, batch, T, number = map(np.array, zip(*labels, strict=True))
    own = 0.01 * random.normal(size=seeds)[number]
    moved = np.array([float(shift(v, T, B)) for v, B, T in cells]).repeat(seeds)
    train_loss = series(train(T) + noise * random.normal(size=len(T)), noise / 4, random)
    apart = series(gap(T) + moved + own + noise * random.normal(size=len(T)), noise / 4, random, start=0.0)
    values = {"train_loss": train_loss, "test_loss": train_loss + apart, "gap": apart}
    if accuracy:
        values |= {"train_accuracy": 1 - 0.1 * train_loss, "test_accuracy": 1 - 0.1 * values["test_loss"]}
    epoch = np.broadcast_to(np.linspace(0, 100, RECORDS + 1), train_loss.shape)
    table = {name: (("run", "record"), each) for name, each in values.items()}
    table |= {"epoch": (("run", "record"), epoch), "diverged_at": ("run", np.full(len(T), -1))}
    coords = {
        "learning_rate": T * batch, "batch_size": batch, "num_examples": np.full(len(T), 60), "width": 0 * number,
        "variant": variant, "seed": number, "temperature": T, "epochs": np.full(len(T), 100.0), "num_steps": 6000 // batch,
    }  # fmt: skip
    facts = {"training_set": training_set, "momentum": 0.9, "seeds": seeds}
    runs = xr.Dataset(table, {name: ("run", each) for name, each in coords.items()}, facts)
    told = {"problem": "made up", "setting": "population", "num_pool": 300, "sampling": "with_replacement"}
    return build_tree({"sweep": runs}, {**provenance(), **told})


def changed(tree, name, places, values):
    """A copy of `tree` with other values of a series of some runs."""
    runs = tree["sweep"].to_dataset().copy(deep=True)
    runs[name].values[places] = values
    return build_tree({"sweep": runs}, tree.attrs)

"""Batches drawn with or without replacement, at a large batch: two sweeps, and the factor (N - B)/(N - 1) between them.

    python examples/replacement.py                                     # a minute on two cores

SGD's noise raises the train loss above that of full batches, in proportion to the covariance of a batch: D/B with
replacement, (D/B)(N - B)/(N - 1) without. Printed for each learning rate: both excesses, their ratio and what it should be
to leading order in the learning rate, over seeds that share training set and start. docs/temperature.md
"""

import argparse

import numpy as np
import xarray as xr

import gradnoise as gn
from gradnoise.estimate import Estimate, fieller_interval

NUM_EXAMPLES, BATCH_SIZE, RATES = 40, 20, (0.25, 0.5, 1.0)
NUM_STEPS = 4000
SETTINGS = {
    "problem": "digits-logistic",
    "num_examples": NUM_EXAMPLES,
    "weight_decay": 0.02,
    "num_records": 400,
}


def steady_train_loss(seeds: int, batch_size: int, sampling: str) -> xr.DataArray:
    """(learning rate, seed): the mean over the last half of each run; runs have equally many steps at each batch size."""
    plan = {**SETTINGS, "learning_rates": RATES, "batch_sizes": batch_size, "seeds": seeds, "sampling": sampling}
    plan["reference_epochs"] = NUM_STEPS * batch_size // NUM_EXAMPLES
    runs = gn.sweep(plan)["sweep"].to_dataset()
    late = runs["train_loss"].isel(record=slice(runs.sizes["record"] // 2, None)).mean("record")
    return late.set_index(run=("learning_rate", "seed")).unstack("run")


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> tuple[float, float, float]:
    """The ratio of two means over seeds with Fieller's 95 % interval."""
    covariance = np.cov(numerator, denominator) / len(numerator)
    parts = numerator.mean(), denominator.mean(), covariance[0, 0], covariance[1, 1], covariance[0, 1]
    return parts[0] / parts[1], *fieller_interval(*map(float, parts), t=2.1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="runs of each cell (default 20)")
    seeds = parser.parse_args().seeds
    full = steady_train_loss(seeds, NUM_EXAMPLES, "subset")
    excess = {name: steady_train_loss(seeds, BATCH_SIZE, name) - full for name in ("with_replacement", "subset")}
    expected = (NUM_EXAMPLES - BATCH_SIZE) / (NUM_EXAMPLES - 1)
    print(
        f"learning rate   excess with replacement   without              ratio                  expected {expected:.3f}"
    )
    for rate in RATES:
        own = {name: np.asarray(found.sel(learning_rate=rate)) for name, found in excess.items()}
        told = [Estimate(each.mean(), each.std(ddof=1) / np.sqrt(seeds), seeds) for each in own.values()]
        value, low, high = ratio(own["subset"], own["with_replacement"])
        spread = "   ".join(f"{each.value:.3e} +- {each.stderr:.0e}" for each in told)
        print(f"{rate:13g}   {spread}   {value:.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()

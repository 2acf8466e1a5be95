"""Spectra of the gradient noise along training: Chaudhari and Soatto's figures 1 and 2, on digits or on your images.

    python examples/fig_variational_1_spectrum.py --out spectrum.html                  # digits, some minutes
    python examples/fig_variational_1_spectrum.py --data mnist.npz --out spectrum.html

Three networks of about 13, 20 and 27 thousand weights at 20, 40 and 100 % of training, one of them for 2, 5 and 10 classes
and on images in all nine one-pixel shifts. Printed: what each run says. The page beside it: docs/theory/spectra.md.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from gradnoise.experiment.spectrum_along_training import spectrum_along_training
from gradnoise.experiment.spectrum_words import spectrum_sentences
from gradnoise.report import figure as fig
from gradnoise.report.html import Html, element, escape, section, table
from gradnoise.report.page import filled
from gradnoise.report.words import number
from gradnoise.testbeds.datasets import Data, digits, load_npz
from gradnoise.testbeds.image_problems import image_problem

NETWORKS: dict[int, dict[str, dict[str, Any]]] = {
    8: {
        "conv, 13k": {"model": "conv", "channels": 30, "stride": 1},
        "mlp, 20k": {"model": "mlp", "width": 108, "depth": 2},
        "conv, 27k": {"model": "conv", "channels": 46, "stride": 1},
    },
    28: {
        "conv, 13k": {"model": "conv", "channels": 23},
        "mlp, 20k": {"model": "mlp", "width": 25},
        "conv, 27k": {"model": "conv", "channels": 37, "depth": 3},
    },
}
"""Side of the image -> networks near the paper's 13,338 (small-lenet), about 20,000 and 26,982 (small-allcnn) weights."""
DIFFERS = (
    "What differs from the paper, which takes D to depend little on the weights from 20 % of training on: on sets of images "
    "small enough to be fitted without error, D shrinks as they are fitted, its eigenvalues move by decades and its leading "
    "directions turn. The rank at the float64 threshold is nearly the number of examples; ranks near one per cent of the "
    "weights are those at the float32 threshold. Networks, data size and length of training are not the paper's."
)
BIN = 0.25
"""Decades of a bin of the histograms."""


def run(data: Data, options: argparse.Namespace, network: dict[str, Any], **problem: Any) -> xr.Dataset:
    """One network's spectra along its training."""
    stated = image_problem(data, **{"num_pool": options.num_pool, **problem}, **network)
    params = stated.init(jax.random.key(options.seed))
    key = jax.random.key(options.seed + 1)
    return spectrum_along_training(stated, params, options.num_steps, 32, 0.1, key, memory=options.memory)


def checkpoint_lines(one: xr.Dataset) -> list[str]:
    """The numbers at each checkpoint; trace, distance and overlap beside those at the first."""
    lines = []
    for place in range(one.sizes["checkpoint"]):
        here = one.isel(checkpoint=place, other=0)
        lines.append(
            f"{float(here['checkpoint']):.0%}: training loss {float(here['train_loss']):.3g}, eigenvalues "
            f"{float(here['mean']):.2g} +- {float(here['spread']):.2g}, rank {int(here['rank'])}, in float32 "
            f"{int(here['rank_float32'])}, participation ratio {float(here['participation_ratio']):.3g}, stable rank "
            f"{float(here['stable_rank']):.3g}, trace x {float(here['trace'] / one['trace'][0]):.2g}, "
            f"{float(here['distance']):.2g} decades, overlap {float(here['overlap']):.2f}"
        )
    return lines


def histogram(values: np.ndarray, threshold: float, name: str, paint: str) -> fig.Trace:
    """How many eigenvalues above the threshold lie in each quarter of a decade."""
    logs = np.log10(values[values > max(threshold, 0.0)])
    edges = np.arange(np.floor(logs.min()) - BIN, np.ceil(logs.max()) + 2 * BIN, BIN)
    counts, _ = np.histogram(logs, edges)
    return fig.line(10 ** ((edges[1:] + edges[:-1]) / 2), counts, name, paint)


def spectra(found: dict[str, xr.Dataset], identifier: str, caption: str) -> Html:
    """The histograms of each run at its checkpoints, one run at a time."""
    variants = {}
    for name, one in found.items():
        traces = []
        for place, paint in zip(range(one.sizes["checkpoint"]), ("@order1", "@order4", "@end"), strict=False):
            here = one.isel(checkpoint=place)
            largest = float(here["eigenvalue"][0])
            threshold = largest * one.attrs["num_parameters"] * np.finfo(float).eps
            share = f"{float(here['checkpoint']):.0%} of training"
            traces.append(histogram(here["eigenvalue"].values, threshold, share, paint))
        notes = [f"{one.attrs['num_parameters']:,} weights. {' '.join(spectrum_sentences(one))}"]
        low, high = (f(f(t["x"]) for t in traces) for f in (min, max))
        x = fig.axis("eigenvalue of D", "log", **fig.decades(low, high))
        variants[name] = fig.variant(traces, x, fig.axis("eigenvalues a quarter of a decade"), notes)
    buttons = [("network", "Run", [(name, name) for name in found], next(iter(found)))]
    return fig.figure(identifier, caption, "Histograms of eigenvalues along training", variants, 400, buttons)


def numbers(found: dict[str, xr.Dataset]) -> Html:
    """The numbers of all runs at the end of training."""
    head = [
        "Run", "Weights", "Examples", "Training loss", "Mean eigenvalue", "Standard deviation", "Rank, float64",
        "Rank, float32", "Participation ratio", "Decades from 20 %", "Overlap with 20 %",
    ]  # fmt: skip
    rows = []
    for name, one in found.items():
        last = one.isel(checkpoint=-1)
        values = (last["train_loss"], last["mean"], last["spread"])
        rows.append(
            [
                name,
                f"{one.attrs['num_parameters']:,}",
                f"{one.attrs['num_examples']:,}",
                *(number(float(value)) for value in values),
                f"{int(last['rank'])} ({float(last['rank_fraction']):.1%})",
                f"{int(last['rank_float32'])} ({int(last['rank_float32']) / one.attrs['num_parameters']:.1%})",
                *(number(float(v)) for v in (last["participation_ratio"], last["distance"][0], last["overlap"][0])),
            ]
        )
    return table(head, rows, numeric=range(1, len(head)))


def page(title: str, *parts: Html) -> str:
    """One HTML file that needs no network, in the report's style."""
    made = element("p", "Made by examples/fig_variational_1_spectrum.py; docs/theory/spectra.md.")
    return filled(title, element("header", element("h1", title)), escape(parts), made)


def main(arguments: list[str] | None = None) -> None:
    """Run, print what the spectra say, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="an .npz file of square images (default: scikit-learn's digits)")
    parser.add_argument("--out", type=Path, help="the page to write (default: none)")
    parser.add_argument("--num-pool", type=int, default=500, help="images trained on and measured (default 500)")
    parser.add_argument("--num-steps", type=int, default=2000, help="steps of training (default 2000)")
    parser.add_argument("--networks", type=int, default=3, help="how many of the three networks (default 3)")
    parser.add_argument("--only-networks", action="store_true", help="leave out the classes and the shifts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", default="4GiB", help="peak memory (default 4GiB)")
    options = parser.parse_args(arguments)
    data = digits() if options.data is None else load_npz(options.data)
    known = NETWORKS[28 if data.num_features == 28 * 28 else 8]
    found: dict[str, xr.Dataset] = {}

    def tell(name: str, one: xr.Dataset) -> None:
        found[name] = one
        loss, accuracy = (float(one[each][-1]) for each in ("train_loss", "accuracy"))
        print(f"{name}: {one.attrs['num_parameters']} weights, training loss {loss:.3g}, accuracy {accuracy:.1%}")
        print(*(f"    {each}" for each in [*checkpoint_lines(one), *spectrum_sentences(one)]), sep="\n", flush=True)

    for name in list(known)[: options.networks]:
        tell(name, run(data, options, known[name]))
    if not options.only_networks:
        first = next(iter(known.values()))
        few = min(options.num_pool, *(int((data.pool["y"] < classes).sum()) for classes in (2, 5, 10)))
        for classes in (2, 5, 10):
            if options.networks > 0 and classes == data.num_outputs and few == options.num_pool:
                continue  # the first network's run above
            tell(f"{classes} classes", run(data, options, first, num_classes=classes, num_pool=few))
        images = max(10, options.num_pool // 9)
        tell("unshifted", run(data, options, first, num_pool=images))
        tell("nine shifts", run(data, options, first, num_pool=images, shifts=True))
    if options.out is not None:
        caption = "Eigenvalues of the covariance D of one example's gradient, above the threshold of float64 rank."
        parts = spectra(found, "spectra", caption), numbers(found), element("p", DIFFERS)
        text = page("Noise spectra along training", section("spectra-section", "Spectra", *parts))
        options.out.write_text(text, encoding="utf-8")
        print(options.out)


if __name__ == "__main__":
    main()

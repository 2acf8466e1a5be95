"""The foot of the page: what made the results, how to load them again, what to cite."""

from typing import Any

from gradnoise.report.html import Html, element, section, table
from gradnoise.report.source import Source
from gradnoise.report.words import number

SETTINGS = {
    "problem": "problem",
    "setting": "setting",
    "num_pool": "examples in the pool",
    "num_parameters": "parameters",
    "kinks": "operations that are not smooth",
    "num_examples": "training examples of a run",
    "batch_size": "batch size",
    "epochs": "epochs",
    "num_steps": "steps",
    "sampling": "sampling",
    "momentum": "momentum",
    "weight_decay": "weight decay",
    "learning_rate": "main learning rate",
    "seed": "seed",
}
MACHINE = {
    "created": "made at",
    "gradnoise_version": "gradnoise",
    "python_version": "Python",
    "jax_version": "JAX",
    "numpy_version": "NumPy",
    "platform": "platform",
    "device": "device",
    "num_devices": "number of devices",
    "git_commit": "git commit",
}
HIDDEN = ("results_format",)
SOURCES = (
    (
        "Prediction by diagrams",
        "S. Tenka, “A Space-Time Approach to Analyzing Stochastic Gradient Descent” and “SGD at Small Learning Rates”.",
    ),
    (
        "Noise scale",
        "S. McCandlish, J. Kaplan, D. Amodei and the OpenAI Dota Team (2018), “An Empirical Model of Large-Batch "
        "Training”, arXiv:1812.06162.",
    ),
    (
        "Linear scaling",
        "Z. Li, S. Malladi, S. Arora (2021), “On the Validity of Modeling SGD with Stochastic Differential Equations "
        "(SDEs)”, arXiv:2102.12470.",
    ),
    (
        "Noise spectrum",
        "P. Chaudhari, S. Soatto (2018), “Stochastic gradient descent performs variational inference, converges to "
        "limit cycles for deep networks”, arXiv:1710.11029.",
    ),
)
RELOAD = """import gradnoise as gn

results = gn.load("results.nc")              # the file written beside this page
results.groups                               # what is in it; labelled arrays
gn.write_report(results, "report.html")      # this page again, nothing is run
"""


def footer(source: Source) -> Html:
    """The closing section, from the root attributes in a fixed order, then any others by name."""
    others = {
        name: name.replace("_", " ") for name in sorted(source.attrs) if name not in {*SETTINGS, *MACHINE, *HIDDEN}
    }
    return section(
        "provenance",
        "Where this comes from",
        element("h3", "Settings"),
        _facts(source.attrs, {**SETTINGS, **others}),
        element("h3", "Made with"),
        _facts(source.attrs, MACHINE),
        element("h3", "Load it again"),
        element("pre", element("code", RELOAD), tabindex="0"),
        element("h3", "Please cite"),
        element("ul", *(element("li", element("strong", f"{topic}: "), text) for topic, text in SOURCES)),
    )


def _facts(attrs: dict[str, Any], names: dict[str, str]) -> Html:
    rows = [
        [told, element("span", _told(attrs[name]))]
        for name, told in names.items()
        if name in attrs and attrs[name] != ""
    ]
    return table(["", ""], rows, class_="facts")


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value, 9).replace(",", "") if isinstance(value, (int, float)) else str(value)

"""The experiments of the paper by name, each as it runs small on the digits and at the paper's own size."""

from collections.abc import Mapping
from dataclasses import replace

from gradnoise.experiment.scaling import Config as ScalingConfig
from gradnoise.experiment.svag_paper.configuration import SCHEDULES, Configuration, Model, Run, Setting
from gradnoise.spacetime import SAMPLINGS

PAPER = Setting(
    0.8, 128, 50_000, 160 * 390, 390, 8, sampling="subset", milestones=(80 * 390, 120 * 390)
)  # fmt: skip
"""Rate .8, batch 128, decay 5e-4, 160 epochs of 390 batches of 50,000 examples, a tenth of the rate from 80 and 120 on."""

FIGURE_1 = replace(PAPER, batch_size=125, num_steps=32_000, every=400, milestones=(24_000,))
"""Batch 125, one fall of the rate at step 24,000; the length, 80 epochs, is ours."""

SMALL_BATCH = Setting(0.0125, 2, 1024, 640, 80, 96)
LARGE_BATCH = Setting(0.8, 128, 1024, 10, 1, 48)
"""Linear scaling of SMALL_BATCH by 64: the same time, learning_rate * num_steps = 8."""

FAMILY = {"SGD": Run("svag"), **{f"SVAG({l})": Run("svag", l) for l in (2, 4, 8, 16)}}
FAMILY_PAIRS = tuple((label, "SGD") for label in FAMILY if label != "SGD")


def beside(values: tuple[str, ...], field: str) -> tuple[dict[str, Run], tuple[tuple[str, str], ...]]:
    """SGD and SVAG(4) at each value of a field of `Run`, and the pairs of the two."""
    runs = {
        f"{name} [{value.replace('_', ' ')}]": Run("svag", l)._replace(**{field: value})
        for value in values
        for name, l in (("SGD", 1), ("SVAG(4)", 4))
    }
    labels = list(runs)
    return runs, tuple(zip(labels[1::2], labels[::2], strict=True))


SCHEDULED, SCHEDULED_PAIRS = beside(SCHEDULES, "schedule")
NORMALIZED, NORMALIZED_PAIRS = beside(("group norm", "no norm"), "model")
WIDTHS = {f"width {width}": Model("mlp", {"width": width}) for width in (8, 32, 128)}
WIDE, WIDE_PAIRS = beside(tuple(WIDTHS), "model")

SMALL_SCALING = {"weight_decay": 0.01, "verify": True, "factors": (4, 32), "num_replicas": 3, "svag_replicas": 0}
PAPER_SCALING = {
    "learning_rate": 0.8,
    "batch_size": 128,
    "weight_decay": 5e-4,
    "sampling": "with_replacement",
    "num_steps": 250 * 390,
    "verify": True,
    "factors": tuple(2**k for k in range(1, 10)),
    "num_replicas": 4,
    "svag_replicas": 0,
}
"""The phase of constant rate, 250 of 300 epochs, from batch 128 to 2^16 (above N: with replacement); rates as batch/128
times .8."""

CONFIGURATIONS: Mapping[str, Configuration] = {
    "sgd-noisygd-gd": Configuration(
        "Does gradient descent with Gaussian noise of SGD's covariance behave like SGD, and without noise not?",
        Setting(0.5, 8, 1024, 200, 20, 48),
        FIGURE_1,
        {"SGD": Run("sgd"), "noisy GD": Run("noisy_gd"), "GD": Run("gradient_descent")},
        (("noisy GD", "SGD"), ("GD", "SGD")),
    ),
    "svag-small-batch": Configuration(
        "Does the SDE describe SGD at a small batch and a small rate: does SVAG(l) stay with SGD as l grows?",
        SMALL_BATCH,
        PAPER,
        FAMILY,
        FAMILY_PAIRS,
    ),
    "svag-large-batch": Configuration(
        "Does the SDE describe SGD at a large batch, the rate as many times larger?",
        LARGE_BATCH,
        replace(
            PAPER, learning_rate=6.4, batch_size=1024, num_steps=160 * 48, every=48, milestones=(80 * 48, 120 * 48)
        ),
        FAMILY,
        FAMILY_PAIRS,
    ),
    "sampling-modes": Configuration(
        "Does it matter how batches are drawn from the training set?",
        Setting(0.2, 16, 1024, 192, 16, 64),
        FIGURE_1,
        {mode.replace("_", " "): Run("sgd", sampling=mode) for mode in sorted(SAMPLINGS, reverse=True)},
        (("subset", "with replacement"), ("reshuffle", "with replacement"), ("fixed", "with replacement")),
    ),
    "schedules": Configuration(
        "Does SVAG(4) stay with SGD while the rate follows a schedule, in effective steps?",
        Setting(0.8, 64, 1024, 60, 6, 48, milestones=(30, 45)),
        PAPER,
        SCHEDULED,
        SCHEDULED_PAIRS,
    ),
    "normalization": Configuration(
        "Does SVAG(4) stay with SGD on a scale-invariant network with group norm, and on one without?",
        Setting(0.8, 64, 1024, 16, 2, 16),
        PAPER,
        NORMALIZED,
        NORMALIZED_PAIRS,
        {
            "group norm": Model("normalized-conv", {"channels": 8, "norm_groups": 2}),
            "no norm": Model("conv", {"channels": 8}),
        },
    ),
    "width": Configuration(
        "Does the difference between SGD and SVAG(4) shrink as the network gets wider?",
        Setting(0.8, 64, 1024, 20, 2, 64),
        PAPER,
        WIDE,
        WIDE_PAIRS,
        WIDTHS,
    ),
    "weak-order": Configuration(
        "Do the means of SVAG(l) approach a limit as C/l?",
        Setting(0.8, 32, 1024, 16, 2, 384),
        PAPER,
        FAMILY,
        FAMILY_PAIRS,
        {"network": Model("logistic")},
        "squared_norm",
    ),
    "linear-scaling": Configuration(
        "How far can batch and rate grow together before weights, gradients and noise at equilibrium must change?",
        ScalingConfig.model_validate(SMALL_SCALING),
        ScalingConfig.model_validate(PAPER_SCALING),
        models={"network": Model("normalized-mlp")},
        observable="squared_norm",
    ),
}
"""Name -> experiment. Errors need replicas: 8 at the paper's size, 4 along linear scaling."""

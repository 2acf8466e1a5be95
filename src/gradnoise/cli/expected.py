"""What each option takes, in words; the sentence for what it does not take."""

from typing import Any

EXPECTED: dict[str, tuple[str, str]] = {
    "problem": ("a stock problem or module:function", "digits-mlp"),
    "data": ("an .npz file or a folder of data", "data.npz"),
    "model": ("logistic, mlp, conv, normalized-mlp, normalized-conv, resnet, preresnet or vgg", "mlp"),
    "hidden": ("a whole number of at least 1", "32"),
    "learning_rate": ("a number above 0", "0.01"),
    "batch_size": ("a whole number of at least 1", "8"),
    "num_examples": ("a whole number of at least 1", "64"),
    "epochs": ("a whole number of at least 1", "2"),
    "sampling": ("fixed, reshuffle, subset or with_replacement", "fixed"),
    "momentum": ("a number of at least 0 and below 1", "0.9"),
    "weight_decay": ("a number of at least 0", "0.001"),
    "num_replicas": ("a whole number of at least 8", "500"),
    "max_order": ("a whole number from 0 to 4", "3"),
    "baseline_steps": ("a whole number of at least 1", "1000"),
    "path_learning_rate": ("a number above 0", "0.3"),
    "path_steps": ("a whole number of at least 1", "64"),
    "num_probes": ("0 or a whole number of at least 2", "50"),
    "memory": ("an amount of memory", "2GiB"),
    "seed": ("a whole number of at least 0", "0"),
    "error": ("a number above 0 and below 1", "0.01"),
    "out": ("a folder", "gradnoise-report"),
    "device": ("cpu or gpu", "cpu"),
    "order": ("a whole number from 0 to 4", "2"),
    "svg": ("a file", "diagrams.svg"),
    "gallery": ("a file", "diagrams.html"),
    "target": ("test, train, gap or displacement", "gap"),
    "label_noise": ("a share of at least 0 and below 1", "0.2"),
    "num_steps": ("a whole number of at least 1", "10000"),
    "optimizer": ("sgd or adam", "sgd"),
    "closeness": ("a number above 1", "1.4142"),
    "factors": ("growing whole numbers from 2, with commas", "2,4,8"),
    "svag_replicas": ("0 or a whole number of at least 8", "64"),
    "temperature": ("numbers above 0, with commas", "0.001,0.01"),
    "width": ("whole numbers of at least 1, with commas", "16,32"),
    "variant": ("plain, momentum, cosine or momentum-cosine, with commas", "plain,momentum"),
    "seeds": ("a whole number of at least 1", "4"),
    "reference_epochs": ("a whole number of at least 1", "100"),
    "training_set": ("drawn or distinct", "drawn"),
    "hours": ("a number above 0", "2"),
    "cluster": ("local or the address of a Dask scheduler", "local"),
    "read": ("a results file of gradnoise scaling", "results.nc"),
}
"""What each option takes, in words, and an example."""


class WrongUse(Exception):
    """Wrong use of the command line; its text is the whole sentence."""


def option(name: str) -> str:
    """The option that sets the Python argument `name`.

    >>> option("batch_size")
    '--batch-size'
    """
    return "--" + name.replace("_", "-")


def wrong_value(name: str, value: Any) -> str:
    """The sentence for a value that an option does not take.

    >>> wrong_value("seed", "x")
    "--seed='x' does not do, expected a whole number of at least 0. Give --seed 0, say."
    """
    expected, example = EXPECTED[name]
    return f"{option(name)}={value!r} does not do, expected {expected}. Give {option(name)} {example}, say."

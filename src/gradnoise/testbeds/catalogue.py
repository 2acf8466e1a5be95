"""Every stock problem by name."""

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

from gradnoise import _checks
from gradnoise.problem import Problem, from_arrays
from gradnoise.testbeds import datasets, networks, normalized, residual, vgg
from gradnoise.testbeds.datasets import Data
from gradnoise.testbeds.landscapes import double_well, gauss
from gradnoise.testbeds.networks import Model
from gradnoise.testbeds.quadratic import mean_estimation
from gradnoise.testbeds.scale_invariant_toys import angle_toy, rayleigh_toy
from gradnoise.testbeds.valleys import helix, helix_ring, ring_engine

MODELS: Mapping[str, Callable[..., Model]] = {
    "logistic": networks.logistic,
    "mlp": networks.mlp,
    "conv": networks.conv,
    "normalized-mlp": normalized.normalized_mlp,
    "normalized-conv": normalized.normalized_conv,
    "resnet": residual.resnet,
    "preresnet": residual.preresnet,
    "vgg": vgg.vgg,
}


def digits_mlp(num_pool: int | None = None, num_test: int = 0, **options: Any) -> Problem:
    """scikit-learn's digits with the tanh network 64-32-10 (2410 weights); `options` are those of `networks.mlp`."""
    return _data_problem(datasets.digits(num_pool, num_test), "mlp", "digits-mlp", options)


def digits_logistic(num_pool: int | None = None, num_test: int = 0, **options: Any) -> Problem:
    """scikit-learn's digits with softmax regression (650 weights); `options` are those of `networks.logistic`."""
    return _data_problem(datasets.digits(num_pool, num_test), "logistic", "digits-logistic", options)


def digits_normalized_mlp(num_pool: int | None = None, num_test: int = 297, **options: Any) -> Problem:
    """scikit-learn's digits with a scale-invariant network 64-32-32-10 (3072 trained weights, the last layer fixed).

    The last 297 digits are held out: at equilibrium test error is read off too. `options` are those of
    `normalized.normalized_mlp`.
    """
    return _data_problem(datasets.digits(num_pool, num_test), "normalized-mlp", "digits-normalized-mlp", options)


CATALOGUE: Mapping[str, Callable[..., Problem]] = {
    "digits-mlp": digits_mlp,
    "digits-logistic": digits_logistic,
    "digits-normalized-mlp": digits_normalized_mlp,
    "angle-toy": angle_toy,
    "rayleigh-toy": rayleigh_toy,
    "mean-estimation": mean_estimation,
    "gauss": gauss,
    "helix": helix,
    "helix-ring": helix_ring,
    "ring-engine": ring_engine,
    "double-well": double_well,
}


def problem(name: str, **options: Any) -> Problem:
    """The stock problem `name`, a key of CATALOGUE; `options` go to its constructor.

    >>> problem("digits-logistic", num_pool=100, weight_l2=0.01).num_pool
    100

    Raises ValueError, with the nearest key, for an unknown name or option.
    """
    constructor = CATALOGUE[_checks.one_of("problem", name, CATALOGUE)]
    known = inspect.signature(constructor).parameters
    if "options" not in known:
        for option in options:
            _checks.one_of(f"option of {name}", option, known)
    return constructor(**options)


def problem_from_data(data: str | os.PathLike[str] | Data, model: str = "mlp", **options: Any) -> Problem:
    """A stock model on a user's file or folder of data (see `datasets.load_data`), or on Data; `options` are the model's.

    >>> from gradnoise.testbeds import datasets
    >>> problem_from_data(datasets.digits(num_test=297), "resnet", depth=8, width=4).setting
    'held out'

    Raises what `load_data` raises for data that do not do, ValueError for an unknown model or option.
    """
    _checks.one_of("model", model, MODELS)
    loaded = data if isinstance(data, Data) else datasets.load_data(data)
    return _data_problem(loaded, model, f"{model} on data", options)


def _data_problem(data: Data, model: str, name: str, options: Mapping[str, Any]) -> Problem:
    constructor = MODELS[model]
    known = [option for option in inspect.signature(constructor).parameters if not option.startswith("num_")]
    for option in options:
        _checks.one_of(f"option of {name}", option, (option for option in known if option != "task"))
    built = constructor(data.num_features, data.num_outputs, task=data.task, **options)
    return from_arrays(
        built.loss,
        built.init,
        data.pool,
        name,
        measured=built.measured,
        test_pool=data.test_pool,
        metrics=built.metrics,
    )

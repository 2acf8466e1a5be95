"""Stock models: a per-example loss and an init, smooth in the weights (tanh, GELU, softplus; no kinks)."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from gradnoise import _checks
from gradnoise._types import Key, Params
from gradnoise.problem import Loss

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "softplus": jax.nn.softplus,
}
TASKS = ("classification", "regression")


class Model(NamedTuple):
    """What a problem needs of a model: `loss`, `measured` and `metrics` take (params, {"x": ..., "y": ...})."""

    init: Callable[[Key], Params]
    loss: Loss
    measured: Loss | None
    metrics: Mapping[str, Loss]


def logistic(num_features: int, num_outputs: int, task: str = "classification", weight_l2: float = 0.0) -> Model:
    """Softmax regression, logits = W x + b; for `task="regression"` the linear model with half the squared error.

        l_x = log sum_k exp(logits_k) - logits_y + (weight_l2/2) |params|^2,      measured without the penalty

    >>> model = logistic(num_features=64, num_outputs=10)
    >>> {name: leaf.shape for name, leaf in vars(model.init(jax.random.key(0))).items() if name in ("weight", "bias")}
    {'weight': (10, 64), 'bias': (10,)}
    """
    inputs, outputs = _checks.integer("num_features", num_features), _checks.integer("num_outputs", num_outputs)
    return _model(lambda key: eqx.nn.Linear(inputs, outputs, dtype=jnp.float32, key=key), task, weight_l2)


def mlp(
    num_features: int,
    num_outputs: int,
    width: int = 32,
    depth: int = 1,
    activation: str = "tanh",
    task: str = "classification",
    weight_l2: float = 0.0,
) -> Model:
    """Fully connected network with `depth` hidden layers of `width`; loss and penalty as in `logistic`.

    >>> params = mlp(num_features=64, num_outputs=10).init(jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    2410

    Raises ValueError for an unknown activation or task.
    """
    inputs, outputs = _checks.integer("num_features", num_features), _checks.integer("num_outputs", num_outputs)
    width, depth = _checks.integer("width", width), _checks.integer("depth", depth)
    function = ACTIVATIONS[_checks.one_of("activation", activation, ACTIVATIONS)]

    def network(key: Key) -> eqx.nn.MLP:
        return eqx.nn.MLP(inputs, outputs, width, depth, activation=function, dtype=jnp.float32, key=key)

    return _model(network, task, weight_l2)


def _model(network: Callable[[Key], Any], task: str, weight_l2: float) -> Model:
    """Loss and init around an equinox layer; its static part is closed over, params hold arrays only.

    Weights are drawn in float32, so that one key gives one start whether or not 64-bit mode is on.
    """
    _checks.one_of("task", task, TASKS)
    penalty = _checks.number("weight_l2", weight_l2, minimum=0.0)
    abstract = eqx.filter_eval_shape(network, jax.random.key(0))
    static = eqx.filter(abstract, lambda leaf: not isinstance(leaf, jax.ShapeDtypeStruct))
    point_loss = _cross_entropy if task == "classification" else _half_squared_error

    def init(key: Key) -> Params:
        return eqx.filter(network(key), eqx.is_array)

    def outputs(params: Params, example: Any) -> jax.Array:
        return eqx.combine(params, static)(example["x"])

    def data_loss(params: Params, example: Any) -> jax.Array:
        return point_loss(outputs(params, example), example["y"])

    def penalized_loss(params: Params, example: Any) -> jax.Array:
        square = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        return data_loss(params, example) + penalty / 2 * square

    def accuracy(params: Params, example: Any) -> jax.Array:
        logits = outputs(params, example)
        return (jnp.argmax(logits) == example["y"]).astype(logits.dtype)

    metrics = {"accuracy": accuracy} if task == "classification" else {}
    if penalty == 0.0:
        return Model(init, data_loss, None, metrics)
    return Model(init, penalized_loss, data_loss, metrics)


def _cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    # A one-hot product rather than logits[label]: its derivative is no scatter, which is slow on CPU under vmap.
    chosen = jax.nn.one_hot(label, logits.shape[-1], dtype=logits.dtype) @ logits
    return jax.nn.logsumexp(logits) - chosen


def _half_squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.sum((prediction - target) ** 2) / 2

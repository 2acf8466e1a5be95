"""The verdict on smoothness agrees with what is known of each function, and nothing is run to reach it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradnoise import testbeds
from gradnoise.problem import Problem, from_arrays
from gradnoise.smoothness import kinks, narrowings

WEIGHTS = jnp.linspace(-1.0, 1.0, 4)


def problem_of(function, measured=None):
    """A problem whose loss is sum(function(w, x)), w and x of four numbers, label an integer."""
    pool = {"x": np.ones((2, 4), np.float32), "label": np.array([0, 3], np.int32)}

    def scalar(f):
        return lambda w, example: jnp.sum(f(w, example))

    return from_arrays(
        scalar(function), lambda key: WEIGHTS, pool, measured=None if measured is None else scalar(measured)
    )


def scanned(step):
    return lambda w, e: jax.lax.scan(lambda carry, x: (step(carry, x), carry), w, e["x"])[1]


@jax.custom_jvp
def smooth_identity(w):
    return w


smooth_identity.defjvps(lambda tangent, ans, w: tangent)


SMOOTH = {
    "tanh": lambda w, e: jnp.tanh(w * e["x"]),
    "gelu": lambda w, e: jax.nn.gelu(w),
    "exact gelu": lambda w, e: jax.nn.gelu(w, approximate=False),
    "softplus": lambda w, e: jax.nn.softplus(w),
    "silu": lambda w, e: jax.nn.silu(w),
    "mish": lambda w, e: jax.nn.mish(w),
    "log_sigmoid": lambda w, e: jax.nn.log_sigmoid(w),
    "logaddexp": lambda w, e: jnp.logaddexp(w, e["x"]),
    "sinc": lambda w, e: jnp.sinc(w),
    "softmax": lambda w, e: jax.nn.softmax(w),
    "logsumexp": lambda w, e: jax.nn.logsumexp(w),
    "log_softmax": lambda w, e: jax.nn.log_softmax(w),
    "cross entropy by indexing": lambda w, e: -jax.nn.log_softmax(w)[e["label"]],
    "cross entropy by take_along_axis": lambda w, e: -jnp.take_along_axis(jax.nn.log_softmax(w), e["label"][None], 0),
    "cross entropy by one-hot": lambda w, e: -jax.nn.log_softmax(w) @ jax.nn.one_hot(e["label"], 4),
    "norm": lambda w, e: jnp.linalg.norm(w - e["x"]),
    "variance": lambda w, e: jnp.var(w),
    "floored variance": lambda w, e: jax.lax.rsqrt(jnp.maximum(0.0, jnp.var(w)) + 1e-5),
    "determinant": lambda w, e: jnp.linalg.det(w.reshape(2, 2)),
    "solve": lambda w, e: jnp.linalg.solve(w.reshape(2, 2) + 3 * jnp.eye(2), w[:2]),
    "where on data": lambda w, e: jnp.where(e["x"] > 0, w, w**2),
    "max of data": lambda w, e: w * jnp.max(e["x"]) + jnp.abs(e["x"]),
    "guarded division": lambda w, e: jnp.where(w == 0, 1.0, w) ** 2,
    "nan_to_num": lambda w, e: jnp.nan_to_num(w),
    "stopped": lambda w, e: w * jax.lax.stop_gradient(jnp.sort(jnp.abs(w))),
    "unused": lambda w, e: (jnp.abs(w), w)[1],
    "cond on data": lambda w, e: jax.lax.cond(e["label"] > 0, jnp.sin, jnp.cos, w),
    "scan": scanned(lambda w, x: jnp.tanh(w * x)),
    "fori_loop": lambda w, e: jax.lax.fori_loop(0, 3, lambda i, v: jnp.sin(v), w),
    "checkpoint": lambda w, e: jax.checkpoint(jnp.tanh)(w),
    "custom_jvp": lambda w, e: smooth_identity(w),
    "average pooling": lambda w, e: jax.lax.reduce_window(w, 0.0, jax.lax.add, (2,), (2,), "VALID"),
    "abs of a square": lambda w, e: jnp.abs(w * w),
    "complex modulus": lambda w, e: jnp.abs(jnp.fft.fft(w)),
}

KINKED = {
    "relu": (lambda w, e: jax.nn.relu(w), ("relu",)),
    "relu6": (lambda w, e: jax.nn.relu6(w), ("relu6",)),
    "leaky_relu": (lambda w, e: jax.nn.leaky_relu(w), ("select_n",)),
    "abs": (lambda w, e: jnp.abs(w - e["x"]), ("abs",)),
    "abs of an even power and more": (lambda w, e: jnp.abs(w**2 - 1), ("abs",)),
    "maximum": (lambda w, e: jnp.maximum(w, e["x"]), ("max",)),
    "maximum of stopped": (lambda w, e: jnp.maximum(w, jax.lax.stop_gradient(2 * w)), ("max",)),
    "max": (lambda w, e: jnp.max(w), ("reduce_max",)),
    "max pooling": (lambda w, e: jax.lax.reduce_window(w, -jnp.inf, jax.lax.max, (2,), (2,), "VALID"), None),
    "hinge": (lambda w, e: jnp.maximum(0.0, 1 - w * e["x"]), ("max",)),
    "clip": (lambda w, e: jnp.clip(w, -1.0, 1.0), ("max", "min")),
    "sort": (lambda w, e: jnp.sort(w)[:2], ("sort",)),
    "median": (lambda w, e: jnp.median(w), None),
    "where": (lambda w, e: jnp.where(w > 0, w, 0.0), ("select_n",)),
    "where on a stopped condition": (lambda w, e: jnp.where(jax.lax.stop_gradient(w) > 0, w, 0.0), ("select_n",)),
    "where equals its maximum": (lambda w, e: jnp.where(w == jax.lax.stop_gradient(w.max()), w, 0.0), ("select_n",)),
    "huber": (lambda w, e: jnp.where(jnp.abs(w) < 1, w**2 / 2, jnp.abs(w) - 0.5), ("abs", "select_n")),
    "comparison as number": (lambda w, e: (w > e["x"]).astype(w.dtype) * w, ("gt",)),
    "indexing by argmax": (lambda w, e: w[jnp.argmax(w)], ("argmax",)),
    "floor": (lambda w, e: w * jnp.floor(w), ("floor",)),
    "round": (lambda w, e: jnp.round(w) * w, None),
    "remainder": (lambda w, e: w % 1.0, None),
    "cond": (lambda w, e: jax.lax.cond(w[0] > 0, jnp.sin, jnp.cos, w), ("cond",)),
    "kink in a branch": (lambda w, e: jax.lax.cond(e["label"] > 0, jnp.abs, jnp.cos, w), ("abs",)),
    "scan": (scanned(lambda w, x: jnp.abs(w) - x), ("abs",)),
    "scan, kink behind the carry": (scanned(lambda w, x: jnp.concatenate([jnp.abs(w[1:]), w[:1]])), ("abs",)),
    "while": (lambda w, e: jax.lax.while_loop(lambda v: v[0] < 9.0, lambda v: v + 1, w), ("while",)),
    "fori_loop": (lambda w, e: jax.lax.fori_loop(0, 3, lambda i, v: jnp.abs(v) - 1, w), ("abs",)),
    "checkpoint": (lambda w, e: jax.checkpoint(jnp.abs)(w), ("abs",)),
    "jit": (lambda w, e: jax.jit(jnp.abs)(w), ("abs",)),
    "vmap": (lambda w, e: jax.vmap(lambda v: jnp.maximum(v, 0.5))(w), ("max",)),
    "elu": (lambda w, e: jax.nn.elu(w), ("select_n",)),
    "scatter max": (lambda w, e: jnp.zeros(2).at[jnp.array([0, 0, 1, 1])].max(w), None),
    "top_k": (lambda w, e: jax.lax.top_k(w, 2)[0], ("top_k",)),
    "l1 penalty beside softmax": (lambda w, e: jax.nn.logsumexp(w) + jnp.abs(w), ("abs",)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_are_passed(name):
    assert kinks(problem_of(SMOOTH[name]), WEIGHTS) == ()


@pytest.mark.parametrize("name", KINKED)
def test_kinked_functions_are_named(name):
    function, names = KINKED[name]
    found = kinks(problem_of(function), WEIGHTS)
    assert found if names is None else found == names


def test_stock_problems_are_smooth_and_keep_their_precision():
    for name in testbeds.CATALOGUE:
        problem = testbeds.problem(name)
        params = problem.init(jax.random.key(0))
        assert kinks(problem, params) == ()
        assert narrowings(problem, params) == ()


@pytest.mark.parametrize("activation", ["tanh", "gelu", "softplus"])
def test_every_stock_activation_is_smooth(activation):
    problem = testbeds.digits_mlp(num_pool=2, activation=activation, depth=2, weight_l2=0.1)
    assert kinks(problem, problem.init(jax.random.key(0))) == ()


def test_a_kink_in_measured_alone_is_found():
    problem = problem_of(lambda w, e: w**2, measured=lambda w, e: jnp.abs(w))
    assert kinks(problem, WEIGHTS) == ("abs",)


def test_nothing_is_run():
    def loss(w, example):
        jax.debug.callback(lambda value: pytest.fail("the loss was run"), w[0])
        return jnp.sum(jnp.abs(w))

    problem = Problem(loss, lambda key, n: jnp.ones((n, 4)), lambda key: WEIGHTS)
    assert kinks(problem, WEIGHTS) == ("abs",)
    jax.effects_barrier()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_narrower_types_on_the_way_are_named(dtype):
    problem = problem_of(lambda w, e: jnp.tanh(w.astype(dtype)).astype(w.dtype) * e["x"])
    assert narrowings(problem, WEIGHTS) == (dtype,)


def test_float16_is_narrower_than_float32_but_float32_is_not():
    problem = problem_of(lambda w, e: w.astype("float16").astype("float32"))
    assert narrowings(problem, WEIGHTS, jnp.float32) == ("float16",)


def test_reduced_precision_is_a_narrowing():
    problem = problem_of(lambda w, e: jax.lax.reduce_precision(w, exponent_bits=8, mantissa_bits=7))
    assert narrowings(problem, WEIGHTS) == ("bfloat16",)


def test_narrow_data_and_stopped_values_are_no_narrowing():
    def function(w, e):
        return w * (e["label"].astype("float32") / 3).astype(w.dtype) + jax.lax.stop_gradient(w.astype("float16"))

    assert narrowings(problem_of(function), WEIGHTS) == ()


def test_narrowing_inside_a_loop_is_found():
    problem = problem_of(scanned(lambda w, x: jnp.sin(w.astype("float32")).astype(w.dtype)))
    assert narrowings(problem, WEIGHTS) == ("float32",)

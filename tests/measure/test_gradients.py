"""Per-example gradients in chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brute_force import covariance, gradient_rows, linear_problem
from cases import CASES
from gradnoise import from_arrays
from gradnoise._memory import LEAST_ROOM
from gradnoise.measure.gradients import BLOCK, COMPILING, ExampleGradients, example_gradients, traced_bytes


def _regression(params, example):
    return (jnp.tanh(example["x"] @ params["w"]) @ params["v"] - example["y"]) ** 2 / 2


@pytest.fixture
def regression():
    random = np.random.default_rng(0)
    pool = {"x": random.normal(size=(21, 4)), "y": random.normal(size=21)}
    params = {"v": random.normal(size=3), "w": random.normal(size=(4, 3))}
    return from_arrays(_regression, lambda key: params, pool), params


def _with_room(gradients: ExampleGradients, room: int) -> ExampleGradients:
    return ExampleGradients(gradients.loss, gradients.params, gradients.examples, gradients.drawn, room)


@pytest.mark.parametrize("name", ["one_weight", "penalized_held_out", "mlp"])
def test_rows_mean_and_products_are_those_of_one_example_at_a_time(name):
    problem, params = CASES[name]()
    rows = gradient_rows(problem, params)
    gradients = example_gradients(problem, params)
    vectors = np.random.default_rng(0).normal(size=(rows.shape[1], 3))
    np.testing.assert_allclose(np.concatenate(list(gradients.chunks())), rows, atol=1e-13)
    np.testing.assert_allclose(gradients.mean, rows.mean(axis=0), atol=1e-13)
    np.testing.assert_allclose(gradients.covariance_product(vectors), covariance(rows) @ vectors, atol=1e-12)


def test_chunks_change_nothing_but_rounding(regression):
    problem, params = regression
    rows = gradient_rows(problem, params)
    whole = example_gradients(problem, params)
    small = _with_room(whole, 200_000)
    with jax.enable_x64(True):
        assert small.chunk_size(lambda block: jnp.zeros((len(block["y"]), 2500))) == BLOCK
    small.__dict__["product_chunk"] = BLOCK  # 21 examples in chunks of 8: the last one reaches back
    np.testing.assert_allclose(np.concatenate(list(small.chunks())), rows, atol=1e-13)
    vector = np.arange(15.0)
    np.testing.assert_allclose(small.covariance_product(vector), covariance(rows) @ vector, atol=1e-11)


def test_many_vectors_at_once_are_the_same_as_one_by_one(regression):
    gradients = example_gradients(*regression)
    vectors = np.random.default_rng(1).normal(size=(15, 17))
    one_by_one = np.stack([gradients.covariance_product(vector) for vector in vectors.T], axis=1)
    np.testing.assert_allclose(gradients.covariance_product(vectors), one_by_one, atol=1e-12)


def test_single_precision_params_and_examples_are_measured_in_double(regression):
    problem, params = regression
    single = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)  # noqa: E731
    rough = from_arrays(_regression, problem.init, single(problem.pool))
    gradients = example_gradients(rough, single(params))
    np.testing.assert_allclose(gradients.mean, gradient_rows(rough, single(params)).mean(axis=0), rtol=1e-12)


def test_a_half_read_generator_leaves_the_precision_of_the_caller_alone(regression):
    chunks = example_gradients(*regression).chunks()
    next(chunks)
    assert jnp.ones(1).dtype == jnp.float32


def test_work_fits_the_room_it_was_given(regression):
    gradients = example_gradients(*regression)
    with jax.enable_x64(True):

        def work(block):
            return jnp.sin(jnp.broadcast_to(block["y"][:, None], (len(block["y"]), 1000))).sum(axis=0)

        eight = jax.tree.map(lambda leaf: leaf[:8], gradients.examples)
        assert traced_bytes(work, eight) >= 8 * 8 * 1000
        for blocks in (1, 2):
            assert _with_room(gradients, 140_000 * blocks).chunk_size(work) == 8 * blocks
        with pytest.raises(MemoryError, match=r"8 examples at a time may need .* Allow more memory"):
            _with_room(gradients, 60_000).chunk_size(work)


def test_the_tracing_bound_holds_for_what_the_compiler_reserves(regression):
    problem, params = regression
    with jax.enable_x64(True):
        work = lambda p: jax.vmap(jax.grad(_regression), (None, 0))(p, problem.pool)  # noqa: E731
        reserved = jax.jit(work).lower(params).compile().memory_analysis()
        assert traced_bytes(work, params) >= reserved.temp_size_in_bytes


def test_a_loss_without_a_hash_is_fine():
    class Loss:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other):
            return True

        def __call__(self, params, example):
            return params @ example

    problem = from_arrays(Loss(), lambda key: np.zeros(2), np.eye(2))
    np.testing.assert_allclose(example_gradients(problem, np.zeros(2)).mean, [0.5, 0.5])


def test_the_default_room_does_not_depend_on_what_the_machine_has_free(regression, monkeypatch):
    monkeypatch.setattr("gradnoise._memory.resident_memory", lambda: 100 * 2**20)
    rooms = []
    for free in (2**20, 2**40):
        monkeypatch.setattr("gradnoise._memory.available_memory", lambda free=free: free)
        rooms.append(example_gradients(*regression).room)
    assert rooms == [2 * 2**30 - 100 * 2**20 - COMPILING] * 2


def test_a_large_process_still_has_some_room_unless_a_bound_was_asked_for(regression, monkeypatch):
    monkeypatch.setattr("gradnoise._memory.resident_memory", lambda: 5 * 2**30)
    assert example_gradients(*regression).room == LEAST_ROOM
    with pytest.raises(MemoryError, match=r"memory=2 GiB is less than the 5.12 GiB"):
        example_gradients(*regression, memory="2GiB")


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"problem": "digits"}, TypeError, "problem is a str, expected a Problem"),
        ({"params": np.array([np.nan, 0.0])}, ValueError, "params holds NaN"),
        ({"params": np.zeros(3)}, TypeError, "dot"),
        ({"num_draws": 1, "key": jax.random.key(0)}, ValueError, "num_draws=1 is below 2"),
        ({"num_draws": 2.5, "key": jax.random.key(0)}, TypeError, "num_draws=2.5 is not an integer"),
        ({"num_draws": 5}, TypeError, "key=None is not one random key"),
        ({"key": jax.random.key(0)}, ValueError, "key has no meaning without num_draws"),
        ({"memory": 0}, ValueError, "memory=0 is not positive"),
        ({"memory": "lots"}, ValueError, "memory='lots'"),
        ({"memory": "1MiB"}, MemoryError, "memory=1 MiB is less than the"),
    ],
)
def test_wrong_calls_are_one_sentence(wrong, error, words):
    arguments = {"problem": linear_problem(np.eye(2)), "params": np.zeros(2)} | wrong
    with pytest.raises(error, match=words):
        example_gradients(**arguments)


def test_a_sampler_that_gives_another_number_is_found():
    from gradnoise import Problem

    problem = Problem(lambda w, x: w * x, lambda key, n: np.ones(3), lambda key: 0.0)
    with pytest.raises(ValueError, match="gave 3 examples for n=5"):
        example_gradients(problem, 0.0, 5, jax.random.key(0))

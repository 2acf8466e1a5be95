"""Diagram values against dense tensors, against enumeration of all samples, and within the memory that was allowed."""

import subprocess
import sys
from itertools import product
from math import factorial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.diagrams.diagram import Diagram
from gradnoise.measure.cumulants import set_partitions
from gradnoise.measure.diagram_values import DiagramValues, diagram_values


def smooth_loss(w, x):
    return jnp.sin(w @ x) + jnp.exp(0.3 * w[0] * x[1]) + (w * x) @ jnp.roll(w, 1) * x[0] + jnp.sum(w**3 * x)


def other_measure(w, x):
    return jnp.cos(w @ x) + jnp.sum(w**2 * x**2) * x[0]


def dense_derivatives(function, w, pool):
    """D^k function for every example, k = 0..4, as dense arrays (n, P, ..., P)."""
    found = []
    with jax.enable_x64(True):
        for _ in range(5):
            found.append(np.asarray(jax.vmap(function, (None, 0))(jnp.asarray(w), jnp.asarray(pool))))
            function = jax.jacfwd(function)
    return found


def contraction(diagram, tensors):
    """The tree contracted with one tensor a node, by einsum: node letters are edges."""
    letters = [[] for _ in tensors]
    for child, parent in enumerate(diagram.parents):
        letters[child].append("abcdefg"[child])
        letters[parent].append("abcdefg"[child])
    return np.einsum(",".join("".join(names) for names in letters) + "->", *tensors)


def dense_value(diagram, node_tensors):
    """v(D) from the definition: joint cumulants of each part by Moebius inversion over all finer partitions.

    `node_tensors[u]` is (examples of node u, P, ...); nodes of one part share the example.
    """
    total = 0.0
    for pieces in product(*(set_partitions(tuple(sorted(part))) for part in diagram.parts)):
        blocks = [block for piece in pieces for block in piece]
        weight = np.prod([(-1) ** (len(piece) - 1) * factorial(len(piece) - 1) for piece in pieces])
        sizes = [len(node_tensors[block[0]]) for block in blocks]
        terms = []
        for choice in product(*map(range, sizes)):
            example = {u: i for block, i in zip(blocks, choice, strict=True) for u in block}
            terms.append(contraction(diagram, [node_tensors[u][example[u]] for u in range(diagram.order + 1)]))
        total += weight * np.mean(terms)
    return total


def tensors_of(diagram, inner, root):
    return [inner[diagram.degree(u)] for u in range(diagram.order)] + [root[diagram.degree(diagram.root)]]


@pytest.fixture
def small(getkey):
    rng = np.random.default_rng(int(jax.random.randint(getkey(), (), 0, 2**31 - 1)))
    return rng.normal(size=(4, 2)), rng.normal(size=2), rng.normal(size=(3, 2))


def init(key):
    return jnp.zeros(2)


def test_population_values_equal_dense_joint_cumulants_for_every_diagram_to_order_3(small):
    pool, w, _ = small
    values = diagram_values(gn.from_arrays(smooth_loss, init, pool), w)
    dense = dense_derivatives(smooth_loss, w, pool)
    assert len(values) == 60
    for diagram in values:
        expected = dense_value(diagram, tensors_of(diagram, dense, dense))
        np.testing.assert_allclose(values[diagram].value, expected, rtol=1e-9, atol=1e-11, err_msg=str(diagram))
        assert values[diagram].stderr == 0


@pytest.mark.slow
def test_population_values_equal_dense_joint_cumulants_at_order_4(small):
    """Every second of the 329 entries of order 4; three examples, so that the dense sums over all choices end."""
    _, w, pool = small
    values = diagram_values(gn.from_arrays(smooth_loss, init, pool), w, max_order=4)
    dense = dense_derivatives(smooth_loss, w, pool)
    assert len(values) == 389
    fourth = [diagram for diagram in values if diagram.order == 4]
    assert len(fourth) == 329
    for diagram in fourth[::2]:
        expected = dense_value(diagram, tensors_of(diagram, dense, dense))
        np.testing.assert_allclose(values[diagram].value, expected, rtol=1e-8, atol=1e-10, err_msg=str(diagram))


@pytest.mark.slow
def test_the_root_carries_measured_over_the_test_pool_when_held_out_and_over_the_pool_when_tied(small):
    pool, w, test_pool = small
    problem = gn.from_arrays(smooth_loss, init, pool, measured=other_measure, test_pool=test_pool)
    values = diagram_values(problem, w)
    inner = dense_derivatives(smooth_loss, w, pool)
    on_pool, on_test = dense_derivatives(other_measure, w, pool), dense_derivatives(other_measure, w, test_pool)
    assert values.setting == "held out"
    for diagram in values:
        root = on_pool if diagram.is_root_tied else on_test
        expected = dense_value(diagram, tensors_of(diagram, inner, root))
        np.testing.assert_allclose(values[diagram].value, expected, rtol=1e-9, atol=1e-11, err_msg=str(diagram))
        if not diagram.is_root_tied:
            beside = values.table[values.index(diagram, "pool")].value
            np.testing.assert_allclose(
                beside, dense_value(diagram, tensors_of(diagram, inner, on_pool)), rtol=1e-9, atol=1e-11
            )


@pytest.mark.slow
def test_unbiased_values_average_to_the_population_over_all_samples_of_a_small_pool(small):
    """Every one of the 3^4 samples of 4 draws from 3 examples; the plug-in value of the same samples is biased."""
    _, w, pool = small
    problem = gn.from_arrays(smooth_loss, init, pool)
    truth = diagram_values(problem, w)
    samples = [np.array(choice) for choice in product(range(3), repeat=4)]
    unbiased = np.mean([_values_of(pool[i], w, "unbiased") for i in samples], axis=0)
    plug_in = np.mean([_values_of(pool[i], w, "population") for i in samples], axis=0)
    np.testing.assert_allclose(unbiased, truth.table.value, rtol=1e-8, atol=1e-9)
    gradient_norm = list(truth).index(Diagram.parse("(0-1)(01)"))
    trace = truth[Diagram.parse("(01)(01)")].value
    np.testing.assert_allclose(plug_in[gradient_norm] - unbiased[gradient_norm], trace / 4, rtol=1e-8)


def _values_of(pool, w, method):
    return diagram_values(gn.from_arrays(smooth_loss, init, pool), w, method=method).table.value


@pytest.mark.slow
def test_the_covariance_is_that_of_repeated_measurements(getkey):
    """250 repetitions of 200 draws: every variance within 5 standard errors of a variance, and the jackknife's O(1/n)."""
    repetitions, n = 250, 200
    problem = gn.Problem(smooth_loss, lambda key, n: 0.5 + 0.5 * jax.random.normal(key, (n, 2)), init)
    runs = [
        diagram_values(problem, np.array([0.8, -0.6]), max_order=2, method="unbiased", num_draws=n, key=key)
        for key in jax.random.split(getkey(), repetitions)
    ]
    values = np.array([run.table.value for run in runs])
    claimed, seen = np.mean([run.table.covariance for run in runs], axis=0), np.cov(values.T)
    spread = np.sqrt(np.diag(seen))
    kurtosis = np.mean(((values - values.mean(0)) / spread) ** 4, axis=0)
    allowed = 5 * np.sqrt(kurtosis / repetitions) + 10 / n
    assert np.all(np.abs(np.diag(claimed) / np.diag(seen) - 1) < allowed)
    assert np.all(np.abs(claimed - seen) / np.outer(spread, spread) < np.maximum.outer(allowed, allowed))


def test_float64_keeps_cumulants_at_a_converged_minimum_where_float32_loses_them():
    """Least squares with a large common offset: gradients at the minimum are small differences of large numbers."""
    x = np.linspace(1, 2, 50)
    noise = 1e-3 * np.cos(7 * np.arange(50))
    pool = {"x": x, "y": 1e3 * x + noise}
    problem = gn.from_arrays(lambda w, e: (w * e["x"] - e["y"]) ** 2 / 2, lambda key: jnp.asarray(0.0), pool)
    w = float(x @ pool["y"] / (x @ x))
    values = diagram_values(problem, w, max_order=2)
    gradients = (w * x - pool["y"]) * x
    variance = np.mean((gradients - gradients.mean()) ** 2)
    np.testing.assert_allclose(values[Diagram.parse("(01)(01)")].value, variance, rtol=1e-6)
    single = np.float32(w) * x.astype(np.float32) - pool["y"].astype(np.float32)
    rough = np.var(single * x.astype(np.float32))
    assert abs(rough / variance - 1) > 1e-3


def test_crossing_symmetry_the_value_does_not_depend_on_which_untied_node_is_the_root(small):
    pool, w, _ = small
    values = diagram_values(gn.from_arrays(smooth_loss, init, pool), w)
    chain, fork = Diagram.parse("(02-1-3)(01-12-23)"), Diagram.parse("(0-12-3)(01-13-23)")
    assert values[chain].value == pytest.approx(values[fork].value, rel=1e-12)


def test_a_gradient_over_parameter_trees_is_measured_as_over_their_flat_vector(small):
    pool, w, _ = small
    tree_problem = gn.from_arrays(lambda p, x: smooth_loss(jnp.stack([p["a"], p["b"]]), x), init, pool)
    flat = diagram_values(gn.from_arrays(smooth_loss, init, pool), w, max_order=2)
    nested = diagram_values(tree_problem, {"a": w[0], "b": w[1]}, max_order=2)
    np.testing.assert_allclose(nested.table.value, flat.table.value, rtol=1e-12)


def test_float32_weights_and_data_are_measured_in_float64(small):
    pool, w, _ = small
    single = gn.from_arrays(smooth_loss, init, pool.astype(np.float32))
    double = gn.from_arrays(smooth_loss, init, pool.astype(np.float32).astype(np.float64))
    w32 = w.astype(np.float32)
    np.testing.assert_array_equal(
        diagram_values(single, w32, max_order=2).table.value,
        diagram_values(double, w32.astype(np.float64), max_order=2).table.value,
    )
    assert not jax.config.jax_enable_x64


def test_kinks_take_away_the_licence_from_order_2_on():
    problem = gn.from_arrays(lambda w, x: jnp.abs(w @ x), init, np.eye(2))
    values = diagram_values(problem, np.array([1.0, 2.0]), max_order=3)
    assert values.kinks == ("abs",)
    assert values.licensed_order == 1


MEMORY_RUN = """
import sys
import jax, gradnoise as gn
from gradnoise._memory import peak_memory
problem = gn.testbeds.problem("digits-mlp", num_pool=192)
gn.diagram_values(problem, problem.init(jax.random.key(0)), max_order=3, memory=sys.argv[1])
print(peak_memory())
"""


@pytest.mark.slow
@pytest.mark.parametrize("gigabytes", [0.75, 1.0, 2.0])
def test_the_operating_systems_peak_stays_under_the_memory_setting(gigabytes):
    run = subprocess.run(
        [sys.executable, "-c", MEMORY_RUN, f"{gigabytes}GiB"], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) <= gigabytes * 2**30


BAD_CALLS = [
    ({"max_order": -1}, ValueError, "max_order=-1"),
    ({"max_order": 2.0}, TypeError, "max_order=2.0"),
    ({"method": "exact"}, ValueError, "method='exact'"),
    ({"num_draws": 10}, ValueError, "num_draws=10"),
    ({"method": "unbiased", "num_draws": 1}, ValueError, "num_draws=1"),
    ({"method": "unbiased", "num_draws": 10}, TypeError, "key=None"),
    ({"memory": "lots"}, ValueError, "memory='lots'"),
    ({"params": np.array([np.nan, 0.0])}, ValueError, "params"),
    ({"params": np.array([1, 2])}, TypeError, "int64"),
]


@pytest.mark.parametrize(("change", "error", "word"), BAD_CALLS)
def test_a_wrong_call_is_one_sentence_that_names_the_argument(change, error, word, small):
    pool, w, _ = small
    arguments = {"problem": gn.from_arrays(smooth_loss, init, pool), "params": w, "max_order": 1, **change}
    with pytest.raises(error) as raised:
        diagram_values(**arguments)
    assert word in str(raised.value)


def test_population_values_without_a_pool_say_what_to_do():
    problem = gn.Problem(smooth_loss, lambda key, n: jax.random.normal(key, (n, 2)), init)
    with pytest.raises(ValueError, match=r"finite pool.*from_arrays"):
        diagram_values(problem, np.zeros(2))


def test_an_unknown_diagram_says_to_measure_further(small):
    pool, w, _ = small
    values: DiagramValues = diagram_values(gn.from_arrays(smooth_loss, init, pool), w, max_order=1)
    with pytest.raises(KeyError, match="larger max_order"):
        values[Diagram.parse("(0-1-2)(01-12)")]

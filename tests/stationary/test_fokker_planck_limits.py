"""What the Fokker-Planck solver takes and what it refuses: walls, ways to write a function, boxes, cells, noise."""

import math
import re

import numpy as np
import pytest

from gradnoise.stationary.fokker_planck import solve_fokker_planck
from gradnoise.stationary.linear import linear_decomposition

pytestmark = pytest.mark.slow  # compiling takes a minute in all

UNIT = [np.eye(1), np.eye(2)]
WORKED = np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([[1.0, 0.4], [0.4, 0.2]])


def points_of(solution):
    return np.stack(np.meshgrid(*solution.centers, indexing="ij"))


def mean_of(solution, values):
    return float(np.sum(values * solution.density) * np.prod([c[1] - c[0] for c in solution.centers]))


def test_between_walls_noise_alone_fills_the_box_evenly():
    noise = np.array([[1.0, -0.4], [-0.4, 0.7]])
    box = {"bounds": ((0, 1), (2, 4)), "shape": (12, 24), "max_mass_outside": math.inf}
    solution = solve_fokker_planck(lambda x: 0 * x, lambda x: noise, **box)
    np.testing.assert_allclose(solution.density, 0.5, rtol=1e-11)
    falling = solve_fokker_planck(lambda x: 0 * x - 3, lambda x: UNIT[0], ((0, 1),), (50,), max_mass_outside=math.inf)
    exact = np.exp(-3 * falling.centers[0])
    np.testing.assert_allclose(falling.density, exact / exact.sum() * 50, rtol=1e-12)


def test_a_corner_that_the_drift_points_into_traps_no_mass_unless_it_is_a_wall():
    """A stable force that leaves the box: walls would gather nearly all mass at (5, 5) deviations, where none belongs."""
    F = np.array([[1.0, -2.0], [0.3, -0.5]])
    S = linear_decomposition(F, UNIT[1]).S
    reach = 5 * math.sqrt(S[0, 0])
    arguments = {"drift": lambda x: -F @ x, "diffusion": lambda x: UNIT[1], "shape": (340, 340)}
    arguments["bounds"] = ((-reach, reach), (-reach, reach))
    assert (-F @ np.array([reach, reach]) > 0).all()
    solution = solve_fokker_planck(**arguments)
    claimed = max(solution.resolution) ** 2 / 12
    assert mean_of(solution, points_of(solution)[1] ** 2) == pytest.approx(S[1, 1], rel=claimed)
    assert solution.mass_outside < 1e-3
    with pytest.raises(ValueError, match=r"exchange mass too slowly|too coarse"):
        solve_fokker_planck(**arguments, max_mass_outside=math.inf)


def pointwise(x):
    return -x * math.hypot(float(x[0]), float(x[1]))  # takes one point only


def mixing(x):
    return -x * np.sqrt(np.sum(x**2))  # takes many points at once, and gives nonsense


def broadcasting(x):
    return -x * np.sqrt(x[0] ** 2 + x[1] ** 2)


def traced(x):
    import jax.numpy as jnp

    return -x * jnp.sqrt(x[0] ** 2 + x[1] ** 2)


@pytest.mark.parametrize("drift", [pointwise, mixing, traced])
def test_functions_give_the_same_density_however_they_are_written(drift):
    box = ((-3, 3), (-3, 3)), (12, 12)
    expected = solve_fokker_planck(broadcasting, lambda x: UNIT[1], *box)
    solution = solve_fokker_planck(drift, lambda x: np.diag(1 + 0 * x) if x.ndim == 1 else 1 / 0, *box)
    np.testing.assert_allclose(solution.density, expected.density, rtol=1e-9)


def test_results_have_the_promised_shapes():
    solution = solve_fokker_planck(lambda x: -x, lambda x: UNIT[1], ((-5, 5), (-6, 5)), (30, 32))
    assert solution.density.shape == (30, 32)
    assert solution.current.shape == (30, 32, 2)
    assert [c.shape for c in solution.centers] == [(30,), (32,)]
    assert solution.centers[1][0] == pytest.approx(-6 + 11 / 64)
    assert solution.density.dtype == solution.current.dtype == np.float64


def named(message, what):
    return eval(re.search(what + r"=(\([^=]*\))[,. ]", message)[1])


def refusal(**arguments):
    """The sentence with which the solver refuses, None if it does not."""
    try:
        solve_fokker_planck(**arguments)
    except ValueError as error:
        return str(error)
    return None


def test_a_box_that_cuts_mass_off_is_refused_until_it_has_the_bounds_that_the_message_names():
    arguments = {"drift": lambda x: -x, "diffusion": lambda x: UNIT[1], "shape": (60, 60)}
    arguments["bounds"], rounds = ((-1.0, 8.0), (0.5, 1.5)), 0
    while message := refusal(**arguments):
        assert "of the mass lies beyond bounds" in message
        arguments["bounds"], rounds = named(message, "Use bounds"), rounds + 1
        assert rounds < 6
    inside = [(math.erf(high / 2**0.5) - math.erf(low / 2**0.5)) / 2 for low, high in arguments["bounds"]]
    assert rounds > 0
    assert 1 - np.prod(inside) < 1e-3
    assert solve_fokker_planck(**arguments).mass_outside < 1e-3


def test_a_box_that_the_drift_leaves_is_refused_with_wider_bounds():
    F = np.array([[1.0, -2.0], [0.3, -0.5]])
    arguments = {"drift": lambda x: -F @ x, "diffusion": lambda x: UNIT[1], "shape": (340, 340)}
    message = refusal(**arguments, bounds=((-38.0, 38.0), (-38.0, 38.0)))
    assert message is not None
    assert named(message, "Use bounds") == ((-48, 48), (-48, 48))
    assert refusal(**arguments, bounds=((-48.0, 48.0), (-48.0, 48.0))) is None


def test_the_mass_outside_is_told_to_a_factor_of_two():
    solution = solve_fokker_planck(lambda x: -x, lambda x: UNIT[1], ((-3.4, 6), (-6, 6)), (94, 120))
    assert 0.5 < solution.mass_outside / (math.erfc(3.4 / 2**0.5) / 2) < 2


def test_cells_that_are_too_coarse_are_refused_until_they_have_the_named_bounds_or_shape():
    force = np.diag([100.0, 4.0])
    arguments = {"drift": lambda x: -force @ x, "diffusion": lambda x: UNIT[1], "shape": (40, 40)}
    arguments["bounds"], rounds = ((-10.0, 10.0), (-2.0, 2.0)), 0
    while message := refusal(**arguments):
        assert "too coarse" in message
        name = "bounds" if "Use bounds" in message else "shape"
        arguments[name], rounds = named(message, f"Use {name}"), rounds + 1
        assert rounds < 6
    solution = solve_fokker_planck(**arguments)
    assert rounds > 0
    assert max(solution.resolution) <= 1
    assert mean_of(solution, points_of(solution)[0] ** 2) == pytest.approx(0.01, rel=1e-6)


def test_cross_terms_beyond_the_cells_ratio_are_refused_with_a_shape_that_does():
    F, D = WORKED
    box = ((-5.0, 5.0), (-3.0, 3.0))
    with pytest.raises(ValueError, match=r"2 <= width/height <= 2.5, these have 1.6") as refused:
        solve_fokker_planck(lambda x: -F @ x, lambda x: D, box, (50, 48), max_mass_outside=math.inf)
    shape = named(str(refused.value), "Use shape")
    assert shape[0] >= 50
    assert shape[1] >= 48
    solution = solve_fokker_planck(lambda x: -F @ x, lambda x: D, box, shape)
    assert solution.density.min() > 0


def test_beyond_the_cells_ratio_the_scheme_would_have_negative_rates():
    """Why it is refused: the share of an axis, D_11 - |D_12| h_1/h_2, is then below zero somewhere."""
    D, (h1, h2) = WORKED[1], (10 / 50, 6 / 48)
    assert min(D[0, 0] - D[0, 1] * h1 / h2, D[1, 1] - D[0, 1] * h2 / h1) < 0
    assert np.linalg.eigvalsh(D)[0] > 0


def test_cross_terms_that_no_ratio_suits_say_so():
    def noise(x):
        return np.array([[1.0, 0.4], [0.4, 0.2]]) if x[0] > 0 else np.array([[0.2, 0.4], [0.4, 1.0]])

    with pytest.raises(ValueError, match="no shape does"):
        solve_fokker_planck(lambda x: -x, noise, ((-4, 4), (-4, 4)), (20, 20))


def test_wells_that_hardly_exchange_mass_are_refused_rather_than_weighed_by_rounding():
    """Barrier beta/4: at 5 symmetry holds to the claimed 1e-6; at 50, exp(-50), rounding would decide."""

    def solve(beta):
        return solve_fokker_planck(
            lambda x: -beta * np.array([x[0] ** 3 - x[0], x[1]]),
            lambda x: UNIT[1],
            ((-2.5, 2.5), (-7 / math.sqrt(beta), 7 / math.sqrt(beta))),
            (80, 40),
        )

    density = solve(20.0).density
    assert density[:40].sum() / density.sum() == pytest.approx(0.5, abs=1e-6)
    with pytest.raises(ValueError, match="exchange mass too slowly"):
        solve(200.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"drift": 3}, "drift=3 is not callable"),
        ({"drift": lambda x: x[:1]}, r"drift\(x\) has shape \(1,\) for x of shape \(2,\), expected \(2,\)"),
        ({"drift": lambda x: (-x).astype(np.float32)}, r"drift\(x\) has dtype float32"),
        ({"drift": lambda x: x / 0 * 1.0}, r"drift\(x\) is not finite"),
        ({"diffusion": lambda x: np.ones(2)}, r"diffusion\(x\) has shape \(2,\)"),
        ({"diffusion": lambda x: np.diag([1.0, 0.0])}, "Add a little noise in the direction that has none"),
        ({"diffusion": lambda x: np.array([[1.0, 0.2], [0.0, 1.0]])}, r"diffusion\(x\) is not symmetric"),
        ({"diffusion": lambda x: -np.eye(2)}, "has the eigenvalue -1"),
        ({"bounds": (-4, 4)}, "Give one .low, high. an axis"),
        ({"bounds": ((-4, 4),)}, "bounds for 1 axes and a shape for 2"),
        ({"bounds": ((-4, 4), (3, 3))}, r"bounds\[1\]\[1\]=3"),
        ({"bounds": ((-4, 4), (math.nan, 3))}, r"bounds\[1\]\[0\]=nan"),
        ({"bounds": ((-4, 4),) * 3, "shape": (9, 9, 9)}, "expected 1 or 2 of both"),
        ({"shape": (50, 3)}, r"shape\[1\]=3 is below 4"),
        ({"shape": (50, 20.0)}, r"shape\[1\]=20.0 is not an integer"),
        ({"shape": (5000, 5000)}, "above 500000"),
        ({"max_mass_outside": 0.0}, "max_mass_outside=0"),
        ({"drift": lambda x: 0.2 * x}, "no stationary density exists"),
    ],
)
def test_wrong_arguments_are_told(change, words):
    arguments = {"drift": lambda x: -x, "diffusion": lambda x: UNIT[1], "bounds": ((-4, 4), (-4, 4)), "shape": (20, 20)}
    with np.errstate(all="ignore"), pytest.raises((ValueError, TypeError), match=words):
        solve_fokker_planck(**(arguments | change))

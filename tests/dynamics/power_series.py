"""Expectations under diffusions on a one-weight polynomial landscape, as exact power series in the learning rate.

A graded polynomial is a list over powers of eta of polynomials in w (lists of Fractions, lowest power first).
"""

from fractions import Fraction
from math import comb, factorial, prod

from diagrams.landscape import Landscape


def mean_loss(land: Landscape) -> list[Fraction]:
    return add(*([p * c for c in f] for p, f in land.points))


def noise_variance(land: Landscape) -> list[Fraction]:
    """C(w) = Var_x l_x'(w)."""
    mean = derive(mean_loss(land))
    squares = add(*(times([p], times(derive(list(f)), derive(list(f)))) for p, f in land.points))
    return add(squares, times([Fraction(-1)], times(mean, mean)))


def flow_series(land: Landscape, num_steps: int, order: int) -> list[Fraction]:
    """E l after the time eta T of gradient flow: (T^k / k!) (-G d)^k l."""
    drift, term, found = times([Fraction(-1)], derive(mean_loss(land))), mean_loss(land), []
    for k in range(order + 1):
        found.append(Fraction(num_steps) ** k / factorial(k) * at(term, land.start))
        term = times(drift, derive(term))
    return found


def euler_maruyama_series(
    land: Landscape, num_steps: int, batch_size: int, num_substeps: int, order: int, drift_order: int = 1
) -> list[Fraction]:
    """E l after num_steps * num_substeps substeps w - (eta/m)(G + ...) + (eta/sqrt m)(C/B)^(1/2) z, z Gaussian."""
    m, gradient = num_substeps, derive(mean_loss(land))
    drift = [[], times([Fraction(-1, m)], gradient), []]
    if drift_order == 2:
        drift[2] = times([Fraction(-1, 2 * m)], times(gradient, derive(gradient)))
    variance = [[], [], times([Fraction(1, m * batch_size)], noise_variance(land))]
    moments = [moment(drift, variance, k, order) for k in range(order + 1)]
    value = [mean_loss(land), *([] for _ in range(order))]
    for _ in range(num_steps * m):
        value = one_substep(value, moments, order)
    return [at(polynomial, land.start) for polynomial in value]


def extrapolated(series_by_substeps: dict[int, list[Fraction]]) -> list[Fraction]:
    """The limit of infinitely many substeps: order k is a polynomial in 1/m of degree k - 1, fixed by as many values."""
    ms = list(series_by_substeps)
    limit = []
    for k in range(len(series_by_substeps[ms[0]])):
        nodes = ms[: max(k, 1)]
        assert len(nodes) >= k
        lagrange = {m: prod(Fraction(m, m - other) for other in nodes if other != m) for m in nodes}
        limit.append(sum(lagrange[m] * series_by_substeps[m][k] for m in nodes))
    return limit


def one_substep(value, moments, order):
    """E f(w + step) = sum_k f^(k)(w) E[step^k] / k!, to `order` in eta."""
    result, derivatives = [[] for _ in range(order + 1)], value
    for k in range(order + 1):
        for power in range(order + 1):
            for lower in range(power + 1):
                term = times(derivatives[lower], moments[k][power - lower])
                result[power] = add(result[power], times([Fraction(1, factorial(k))], term))
        derivatives = [derive(polynomial) for polynomial in derivatives]
    return result


def moment(drift, variance, k, order):
    """E (drift + noise)^k for Gaussian noise: sum_j C(k, 2j) (2j - 1)!! drift^(k-2j) variance^j."""
    total = [[] for _ in range(order + 1)]
    for j in range(k // 2 + 1):
        pairs = Fraction(factorial(2 * j), 2**j * factorial(j)) * comb(k, 2 * j)
        factor = [[pairs], *([] for _ in range(order))]
        for graded, repeats in ((drift, k - 2 * j), (variance, j)):
            for _ in range(repeats):
                factor = [
                    add(*(times(factor[i], graded[n - i]) for i in range(n + 1) if n - i < len(graded)))
                    for n in range(order + 1)
                ]
        total = [add(a, b) for a, b in zip(total, factor, strict=True)]
    return total


def add(*polynomials):
    length = max((len(p) for p in polynomials), default=0)
    return [sum((p[i] for p in polynomials if i < len(p)), Fraction(0)) for i in range(length)]


def times(a, b):
    if not a or not b:
        return []
    result = [Fraction(0)] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        if x:
            for j, y in enumerate(b):
                result[i + j] += x * y
    return result


def derive(polynomial):
    return [k * c for k, c in enumerate(polynomial)][1:]


def at(polynomial, w):
    return sum((c * w**k for k, c in enumerate(polynomial)), Fraction(0))

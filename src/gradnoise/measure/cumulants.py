"""How a product of cumulants is written in centred moments of a sample: exact rational weights.

A diagram's value is a product of joint cumulants, one factor a part, contracted along the tree. Every node stands for
a random tensor f = mean + xi with xi centred at the sample mean, so the value is a sum over partitions tau of the
nodes of

    weight(pi, tau) * M(tau),        M(tau) = contraction of  prod_{blocks b} (1/n) sum_i prod_{u in b} xi_u(i),

where a block of size 1 means the mean of that node. Pure Python: partitions are tuples of sorted tuples of ints.
Source: polykays, diagrams.md section 6; cumulants from central moments, section 1.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from math import factorial, perm

Partition = tuple[tuple[int, ...], ...]


def partition(blocks: Iterator[tuple[int, ...]] | list[tuple[int, ...]] | tuple) -> Partition:
    """The blocks in the one order that makes equal partitions equal tuples."""
    return tuple(sorted(tuple(sorted(block)) for block in blocks if len(block)))


@cache
def set_partitions(items: tuple[int, ...]) -> tuple[Partition, ...]:
    """All partitions of `items`, Bell(len(items)) of them.

    >>> len(set_partitions((0, 1, 2, 3)))
    15
    """
    if not items:
        return ((),)
    first, rest = items[0], items[1:]
    found = []
    for smaller in set_partitions(rest):
        found.append(partition([(first,), *smaller]))
        for k, block in enumerate(smaller):
            found.append(partition([*smaller[:k], (first, *block), *smaller[k + 1 :]]))
    return tuple(found)


def refinements(coarse: Partition) -> Iterator[Partition]:
    """All partitions that cut the blocks of `coarse` further, `coarse` itself among them."""

    def cut(blocks: Partition) -> Iterator[list]:
        if not blocks:
            yield []
            return
        for pieces in set_partitions(blocks[0]):
            for others in cut(blocks[1:]):
                yield [*pieces, *others]

    return (partition(blocks) for blocks in cut(coarse))


def moebius(fine: Partition, coarse: Partition) -> int:
    """prod over blocks of `coarse` of (-1)^(k-1) (k-1)!, k the number of pieces that `fine` cuts the block into."""
    result = 1
    for block in coarse:
        k = sum(set(piece) <= set(block) for piece in fine)
        result *= (-1) ** (k - 1) * factorial(k - 1)
    return result


def is_finer(fine: Partition, coarse: Partition) -> bool:
    """Whether every block of `fine` lies inside a block of `coarse`."""
    return all(any(set(piece) <= set(block) for block in coarse) for piece in fine)


def restrict(pi: Partition, nodes: set[int]) -> Partition:
    """The partition that `pi` leaves on `nodes`."""
    return partition([tuple(u for u in block if u in nodes) for block in pi])


@cache
def moment_weights(
    pi: Partition, num_samples: int | None, fixed: frozenset[int] = frozenset()
) -> dict[Partition, Fraction]:
    """tau -> weight of M(tau) in the value whose parts are `pi`; partitions of weight zero are left out.

    With `num_samples` n the sum is the polykay, unbiased over i.i.d. samples; with None it is the plug-in value, in
    which the sample is the population. `fixed` nodes (a root measured elsewhere) are always means.

    Over the nodes that are not means in tau, write pi' and rho for what pi and tau leave there:

        weight = sum_{sigma <= pi', rho} mu(sigma, pi') mu(sigma, rho) n^|rho| / (n)_|sigma|      (n)_k = n!/(n-k)!

    and the plug-in value keeps sigma = rho, the limit n -> infinity.

    >>> moment_weights(((0,), (1,)), 5)          # G.G, unbiased: |gbar|^2 - tr D/(n-1)
    {((0,), (1,)): Fraction(1, 1), ((0, 1),): Fraction(-1, 4)}
    """
    singletons = {block[0] for block in pi if len(block) == 1}
    weights = {}
    for tau in set_partitions(tuple(sorted(u for block in pi for u in block))):
        means = {block[0] for block in tau if len(block) == 1}
        if not (means <= singletons and fixed <= means):
            continue
        rest = {u for block in tau for u in block} - means
        weight = _weight(restrict(pi, rest), restrict(tau, rest), num_samples)
        if weight:
            weights[tau] = weight
    return weights


def _weight(pi: Partition, rho: Partition, n: int | None) -> Fraction:
    if n is None:
        return Fraction(moebius(rho, pi)) if is_finer(rho, pi) else Fraction(0)
    total = Fraction(0)
    for sigma in refinements(pi):
        if is_finer(sigma, rho):
            total += Fraction(moebius(sigma, pi) * moebius(sigma, rho) * n ** len(rho), perm(n, len(sigma)))
    return total

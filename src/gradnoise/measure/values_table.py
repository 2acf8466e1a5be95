"""The values of many entries with their joint covariance: exact, by influences, or from groups of draws."""

from collections.abc import Sequence

import numpy as np

from gradnoise.estimate import Estimate
from gradnoise.measure.branches import Branch
from gradnoise.measure.contractions import Contractor
from gradnoise.measure.entries import Entry, combination, influence_combination

Kinds = Sequence[tuple[str, ...]]
"""What stands at the nodes of each entry."""


def measure_table(
    entries: Sequence[Entry], kinds: Kinds, contractor: Contractor, method: str, num_groups: int | None
) -> Estimate:
    """The values of all entries with their covariance: zero for "population"; for "unbiased" of groups or of all draws."""
    if num_groups is not None:
        return _over_groups(entries, kinds, contractor, num_groups)
    n = contractor.size
    if method == "population":
        values = _values(_combinations(entries, kinds, None), contractor)
        covariance = np.zeros((len(entries), len(entries)))
    else:
        values = _values(_combinations(entries, kinds, n), contractor)
        changes = _influences(entries, kinds, contractor)
        covariance = changes @ changes.T / (n * (n - 1))
    return Estimate(values, np.sqrt(np.diag(covariance)), n, covariance)


def _over_groups(entries: Sequence[Entry], kinds: Kinds, contractor: Contractor, num_groups: int) -> Estimate:
    """The mean over groups of draws of their own unbiased values; the covariance is the groups' over their number."""
    size = contractor.size // num_groups
    combinations, found = _combinations(entries, kinds, size), []
    for group in range(num_groups):
        found.append(_values(combinations, contractor.restricted(np.arange(group * size, (group + 1) * size))))
        contractor.progress((group + 1) / num_groups)
    values = np.array(found)
    covariance = np.atleast_2d(np.cov(values.T)) / num_groups
    return Estimate(values.mean(axis=0), np.sqrt(np.diag(covariance)), contractor.size, covariance)


def _combinations(entries: Sequence[Entry], kinds: Kinds, num_samples: int | None) -> list[dict[Branch, float]]:
    return [combination(entry, own, num_samples) for entry, own in zip(entries, kinds, strict=True)]


def _values(combinations: list[dict[Branch, float]], contractor: Contractor) -> np.ndarray:
    means = contractor.mean({tree for combination in combinations for tree in combination})
    return np.array([sum(weight * means[tree] for tree, weight in c.items()) for c in combinations])


def _influences(entries: Sequence[Entry], kinds: Kinds, contractor: Contractor) -> np.ndarray:
    """What each example changes in each value, (entries, n), centred; of the plug-in value, the leading order in 1/n."""
    combinations = [influence_combination(entry, own) for entry, own in zip(entries, kinds, strict=True)]
    values = contractor.per_example({tree for c in combinations for tree in c})
    zero = np.zeros(contractor.size)
    changes = np.stack([sum((weight * values[tree] for tree, weight in c.items()), zero) for c in combinations])
    return changes - changes.mean(axis=1, keepdims=True)

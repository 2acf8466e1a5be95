"""Drawing training and test sets anew: data splitting, random sampling, disjoint training sets."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from gradnoise import _checks
from gradnoise._types import Key
from gradnoise.testbeds.data import Data


class RandomSample(NamedTuple):
    """Training and test set that were drawn independently, and the number of examples in both."""

    data: Data
    num_shared: int


def split(key: Key, data: Data, num_train: int, num_test: int) -> Data:
    """Data splitting: pool and test pool are merged and shuffled, then cut into disjoint training and test sets.

    Features stay as they are standardized in `data`: by its own training pool, the same for every split.

    >>> from gradnoise.testbeds.datasets import digits
    >>> data = split(jax.random.key(0), digits(), 1000, 500)
    >>> len(data.pool["y"]), len(data.test_pool["y"])
    (1000, 500)

    Raises ValueError for sets that hold fewer than one example or together more than there are.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", data splitting.
    """
    x, y = _merged(data)
    num_train, num_test = _checks.integer("num_train", num_train), _checks.integer("num_test", num_test)
    if num_train + num_test > len(y):
        raise ValueError(
            f"num_train={num_train} and num_test={num_test} do not fit: the data are {len(y)} examples. Take fewer."
        )
    order = _generator(key).permutation(len(y))
    return _of_rows(data, x, y, order[:num_train], order[num_train : num_train + num_test])


def random_sampling(key: Key, data: Data, num_train: int, num_test: int) -> RandomSample:
    """Random sampling: training and test set are drawn from all M examples independently, each without replacement.

    The sets share examples: `num_shared` is hypergeometric with mean num_train num_test/M, so that num_train/M of a test
    set is trained on in the mean. Features as in `split`.

    >>> from gradnoise.testbeds.datasets import digits
    >>> random_sampling(jax.random.key(0), digits(), 1797, 500).num_shared
    500

    Raises ValueError for a set that holds fewer than one example or more than there are.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", random sampling.
    """
    x, y = _merged(data)
    num_train = _checks.integer("num_train", num_train, 1, len(y))
    num_test = _checks.integer("num_test", num_test, 1, len(y))
    random = _generator(key)
    train, test = random.permutation(len(y))[:num_train], random.permutation(len(y))[:num_test]
    return RandomSample(_of_rows(data, x, y, train, test), len(np.intersect1d(train, test)))


def disjoint_sets(key: Key, num_pool: int, num_examples: int, num_sets: int) -> Int[np.ndarray, "s n"]:
    """Rows of a pool for `num_sets` training sets of `num_examples` distinct examples, disjoint as far as they fit.

    A shuffled pool is cut into m = num_pool // num_examples sets; where more are wanted it is shuffled anew: sets
    m k, ..., m k + m - 1 are disjoint for each k, sets of different shuffles are independent.

    >>> sets = disjoint_sets(jax.random.key(0), num_pool=10, num_examples=5, num_sets=2)
    >>> sorted(sets.ravel().tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]

    Raises ValueError for numbers below one, and for more examples than the pool holds.
    """
    num_pool, num_sets = _checks.integer("num_pool", num_pool), _checks.integer("num_sets", num_sets)
    num_examples = _checks.integer("num_examples", num_examples, 1, num_pool)
    random, fitting = _generator(key), num_pool // num_examples
    rows = [random.permutation(num_pool)[: fitting * num_examples] for _ in range(-(-num_sets // fitting))]
    return np.concatenate(rows).reshape(-1, num_examples)[:num_sets]


def _generator(key: Key) -> np.random.Generator:
    """NumPy's random numbers from a JAX key: rows are drawn once, on the host, and nothing is compiled."""
    return np.random.default_rng(np.asarray(jax.random.key_data(_checks.random_key("key", key))))


def _merged(data: Data) -> tuple[np.ndarray, np.ndarray]:
    parts = [data.pool] if data.test_pool is None else [data.pool, data.test_pool]
    x, y = (np.concatenate([part[name] for part in parts]) for name in ("x", "y"))
    return x, y


def _of_rows(data: Data, x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> Data:
    return data._replace(pool={"x": x[train], "y": y[train]}, test_pool={"x": x[test], "y": y[test]})

"""A sweep on a Dask cluster: workers do the chunks, and the process that asked stores each as it comes."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from gradnoise.experiment.sweep.dispatch import Workers
from gradnoise.experiment.sweep.local_cluster import local_cluster
from gradnoise.experiment.sweep.run import Strategy

LOCAL = "local"
CONNECTING = 8.0
"""Seconds in which a scheduler must answer."""


@contextmanager
def on_cluster(cluster: str) -> Iterator[Strategy]:
    """A strategy that does chunks on the Dask cluster at an address, or on a "local" one, begun and ended here.

    Each worker has one chunk at a time, and the largest go first. Dask does a chunk again whose worker died; where it
    gives up, the chunk runs once more with no other beside it, so that it is not blamed for its neighbours.

    Raises ModuleNotFoundError without distributed; ValueError for what is no address; ConnectionError, one sentence, if
    no scheduler answers within 10 seconds, and from the strategy if it goes away; the strategy raises KilledWorkers,
    naming them, for chunks that kill every worker, once all others are finished, and ValueError where a worker has
    other versions, another problem or several threads.
    """
    dask, told = distributed(), f"cluster={cluster!r}"
    if not cluster.strip():
        raise ValueError(f"{told} is empty, expected 'local' or the address of a Dask scheduler. Give 'local', say.")
    with _quiet(), local_cluster() if cluster == LOCAL else nullcontext(cluster) as address:
        try:
            client = dask.Client(address, timeout=CONNECTING)
        except Exception:  # what else may listen there answers in every possible way
            raise ConnectionError(
                f"{told}: no scheduler answers there, expected the address of one that runs, such as tcp://host:8786. "
                "Check it, or give 'local'."
            ) from None
        with client:
            yield Workers(dask, client, told).do


def distributed() -> Any:
    """The package, or a sentence on how to get it."""
    try:
        import distributed
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a sweep on a cluster needs distributed, which is not installed. Install gradnoise[cluster]."
        ) from None
    return distributed


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Dask's own log, which tells in many lines what a sentence here tells."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)

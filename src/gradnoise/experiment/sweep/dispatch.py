"""Chunks sent to the workers of a Dask scheduler, one each at a time, and their tables as they come."""

import pickle
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, NamedTuple
from uuid import uuid4

import xarray as xr

from gradnoise.experiment.sweep.cells import Chunk
from gradnoise.experiment.sweep.config import SweepPlan
from gradnoise.experiment.sweep.run import Hear
from gradnoise.experiment.sweep.worker import Origins, do_on_worker, origins_of

LOOK = 1.0
"""Seconds between looks at how many workers there are."""
LONELY = 30.0
"""Seconds without any worker after which that is said."""


class NoWorkers(UserWarning):
    """A scheduler to which no worker has come."""


class KilledWorkers(OSError):
    """Chunks under which every worker died."""


class _Task(NamedTuple):
    """What every worker gets: the pickled plan, and what must be alike there."""

    plan: bytes
    origins: Origins


class _Call:
    """A call that is made where it is unpickled: so the scheduler needs no gradnoise, and a worker without it can say so."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


class Workers:
    """The workers of a client's scheduler; `dask` is the package, `told` names the cluster in sentences."""

    def __init__(self, dask: Any, client: Any, told: str) -> None:
        self.dask, self.client, self.told = dask, client, told

    def do(self, plan: SweepPlan, todo: Sequence[Chunk], hear: Hear) -> Iterator[tuple[Chunk, xr.Dataset]]:
        """The strategy: tables as they come, the share of work after each."""
        if not todo:
            return
        task = _Task(_pickled(plan), origins_of(plan))
        largest_first = sorted(todo, key=lambda chunk: -chunk.work)
        total, done = sum(chunk.work for chunk in todo), 0.0
        suspects, killers = [], []
        for chunk, table in self._together(task, largest_first):
            if table is None:
                suspects.append(chunk)
                continue
            done += chunk.work
            yield chunk, table
            hear(done / total)
        for suspect in suspects:
            for chunk, table in self._together(task, [suspect]):
                if table is None:
                    killers.append(chunk)
                else:
                    done += chunk.work
                    yield chunk, table
                    hear(done / total)
        if killers:
            self._name(killers)

    def _together(self, task: _Task, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, xr.Dataset | None]]:
        """As many at a time as there are workers; the table None where every worker that tried died."""
        waiting, running = deque(chunks), {}
        lonely_since: float | None = monotonic()
        while waiting or running:
            workers = self._num_workers()
            lonely_since = self._lonely(workers, lonely_since)
            self._fill(task, waiting, running, workers)
            for future in self._finished(running):
                chunk, table = running.pop(future), self._table(future)
                self._fill(task, waiting, running, workers)
                yield chunk, table

    def _fill(self, task: _Task, waiting: deque[Chunk], running: dict[Any, Chunk], workers: int) -> None:
        """Send chunks until each worker has one."""
        while waiting and len(running) < max(workers, 1):
            chunk = waiting.popleft()
            call = pickle.dumps(_Call(do_on_worker, (task.plan, chunk, task.origins)))
            running[self.client.submit(pickle.loads, call, key=f"{chunk.name}-{uuid4().hex}", pure=False)] = chunk

    def _num_workers(self) -> int:
        """How many have come; raises ValueError for one with several threads."""
        threads = self._asked(self.client.nthreads)
        several = [address for address, count in threads.items() if count != 1]
        if several:
            raise ValueError(
                f"{self.told}: worker {several[0]} has {threads[several[0]]} threads, expected one, for JAX has its own. "
                "Start it with --nthreads 1."
            )
        return len(threads)

    def _finished(self, running: dict[Any, Chunk]) -> list[Any]:
        """The futures that have ended, after a while or as soon as there is one."""
        try:
            self._asked(self.dask.wait, list(running), timeout=LOOK, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return []
        return [future for future in running if future.done()]

    def _table(self, future: Any) -> xr.Dataset | None:
        try:
            return self._asked(future.result)
        except self.dask.KilledWorker:
            return None
        except ModuleNotFoundError as missing:
            raise ValueError(
                f"{self.told}: a worker has no module {missing.name!r}, expected the packages that are here. Start the "
                "workers from the environment of the sweep."
            ) from missing

    def _asked(self, question: Any, *arguments: Any, **options: Any) -> Any:
        """The answer; ConnectionError, one sentence, where the scheduler has gone."""
        try:
            return question(*arguments, **options)
        except (self.dask.CancelledError, self.dask.comm.CommClosedError):
            pass
        except (TimeoutError, RuntimeError):
            if self.client.status == "running":
                raise
        raise ConnectionError(
            f"{self.told}: its scheduler has gone away. Finished runs are kept in the store, if there is one: run the same "
            "again, here or on another cluster, to go on."
        )

    def _lonely(self, workers: int, since: float | None) -> float | None:
        """Since when there has been no worker; None once that has been said."""
        if workers or since is None:
            return monotonic() if workers else since
        if monotonic() - since < LONELY:
            return since
        warnings.warn(f"{self.told} has no worker so far: the sweep waits for one.", NoWorkers, stacklevel=2)
        return None

    def _name(self, killers: Sequence[Chunk]) -> None:
        names = ", ".join(f"{chunk.name} (batch_size={chunk.shape.batch_size})" for chunk in killers)
        raise KilledWorkers(
            f"{self.told}: {names} killed every worker, also alone; too little memory is the usual cause. All other runs "
            "are finished, and kept if there is a store. Give workers more memory and run the same again."
        )


def _pickled(plan: SweepPlan) -> bytes:
    """The plan, with a problem whose functions are this script's own taken along."""
    import cloudpickle

    try:
        return cloudpickle.dumps(plan)
    except Exception as error:
        raise ValueError(
            f"problem cannot be sent to workers ({type(error).__name__}), expected one that pickles. Name it: "
            "problem='module:function'."
        ) from error

"""Many calls of one function, in processes of this machine or on a cluster, through joblib.

A process that dies takes its pool with it. What had been handed out and not come back is then called once more, in its
smallest parts and one at a time, so that the call that kills is known; the others are finished in a new pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import Any, TypeVar

from peerwatt.errors import Fault, ScenarioError

__all__ = ["Backend", "Pool"]

R = TypeVar("R")


class Backend(StrEnum):
    """What runs the calls."""

    LOKY = "loky"
    SEQUENTIAL = "sequential"
    DASK = "dask"
    RAY = "ray"


_INSTALL = {Backend.DASK: ("distributed", "pip install distributed"), Backend.RAY: ("ray", "pip install ray")}
_PATIENCE = "10 s"


@dataclass(frozen=True, slots=True)
class Pool:
    """Where calls run.

    Attributes:
        backend: what runs them.
        jobs: calls at a time; by default as many as there are processors, on a cluster as it has workers.
        address: of the scheduler of a cluster that is there; by default Dask and Ray start one on this machine.
    """

    backend: Backend = Backend.LOKY
    jobs: int | None = None
    address: str = ""

    def check(self) -> None:
        """See whether the backend is installed.

        Raises:
            ScenarioError: it is not, or an address goes with a backend that has none.
        """
        from importlib.util import find_spec

        if self.backend in _INSTALL:
            module, command = _INSTALL[self.backend]
            if find_spec(module) is None:
                raise ScenarioError(Fault("--backend", f"{self.backend} is not installed", command))
        elif self.address:
            raise ScenarioError(Fault("--address", f"{self.backend} runs on this machine", "leave it out"))

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Within the block calls go to the cluster, if there is one.

        Raises:
            ScenarioError: it cannot be reached.
        """
        from joblib import parallel_config

        if self.backend is Backend.DASK:
            try:
                client = import_module("distributed").Client(self.address or None, timeout=_PATIENCE)
            except (OSError, ValueError) as error:
                raise ScenarioError(_unreachable("dask", self.address, error, "dask scheduler")) from None
            with client, parallel_config(backend="dask", client=client):
                yield
        elif self.backend is Backend.RAY:
            try:
                import_module("ray").init(address=self.address or None, ignore_reinit_error=True)
            except (OSError, ValueError) as error:
                raise ScenarioError(_unreachable("ray", self.address, error, "ray start --head")) from None
            import_module("ray.util.joblib").register_ray()
            with parallel_config(backend="ray"):
                yield
        else:
            yield

    @property
    def n_jobs(self) -> int:
        """How many calls there are at a time, as far as is known here."""
        from joblib import cpu_count

        return 1 if self.backend is Backend.SEQUENTIAL else self.jobs or int(cpu_count())

    def finished(
        self,
        call: Callable[..., R],
        tasks: Sequence[tuple[Any, ...]],
        dead: Callable[..., R],
        parts: Callable[..., Sequence[tuple[Any, ...]]] = lambda *task: (task,),
    ) -> Iterator[R]:
        """Call a function for every task; on a cluster within `connected`.

        Args:
            call: raises nothing of its own; what it returns is handed on as soon as it is there.
            tasks: its arguments.
            dead: takes the same arguments, for the result of a call whose process has died twice.
            parts: takes the same arguments, for the tasks that a task is made of; by default it is one itself.

        Returns:
            The results, in the order in which they are ready.
        """
        left = dict(enumerate(tasks))
        while left:
            out: set[int] = set()
            try:
                for number, result in self._run(call, left, out, one_at_a_time=False):
                    del left[number]
                    out.discard(number)
                    yield result
            except _deaths(self.backend):
                if not out:
                    raise
                for number in sorted(out):
                    for part in parts(*left.pop(number)):
                        yield self._alone(call, part, dead)

    def _alone(self, call: Callable[..., R], task: tuple[Any, ...], dead: Callable[..., R]) -> R:
        try:
            return next(self._run(call, {0: task}, set(), one_at_a_time=True))[1]
        except _deaths(self.backend):
            return dead(*task)

    def _run(
        self,
        call: Callable[..., R],
        tasks: dict[int, tuple[Any, ...]],
        out: set[int],
        *,
        one_at_a_time: bool,
    ) -> Iterator[tuple[int, R]]:
        """Results with the numbers of their tasks; `out` is told which tasks have been handed out."""
        from joblib import Parallel, cpu_count, delayed

        def handed_out() -> Iterator[Any]:
            for number, task in list(tasks.items()):
                out.add(number)
                yield delayed(_numbered)(number, call, task)

        jobs = self.jobs or (-1 if self.backend in _INSTALL else cpu_count())
        if one_at_a_time:
            jobs = 2
        elif jobs > 1:
            jobs = max(2, min(jobs, len(tasks)))  # with one, joblib would call it in this process
        kind: dict[str, Any] = {} if self.backend in _INSTALL else {"backend": str(self.backend)}
        if self.backend is Backend.RAY:
            yield from _in_slices(handed_out(), jobs)
            return
        parallel = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, **kind)
        yield from parallel(handed_out())


def _numbered(number: int, call: Callable[..., R], task: tuple[Any, ...]) -> tuple[int, R]:
    return number, call(*task)


def _in_slices(calls: Iterable[Any], jobs: int) -> Iterator[Any]:
    """Some calls after the others, for a backend that returns nothing before all are done."""
    from itertools import islice

    from joblib import Parallel, effective_n_jobs

    n_jobs = effective_n_jobs(jobs)
    rest = iter(calls)
    with Parallel(n_jobs=n_jobs) as parallel:
        while some := list(islice(rest, 4 * n_jobs)):
            yield from parallel(some)


def _deaths(backend: Backend) -> tuple[type[Exception], ...]:
    """How a backend says that a process died."""
    if backend is Backend.LOKY:
        from joblib.externals.loky import BrokenProcessPool

        return (BrokenProcessPool,)
    if backend is Backend.DASK:
        return (import_module("distributed").KilledWorker,)
    return ()


def _unreachable(name: str, address: str, error: Exception, start: str) -> Fault:
    return Fault("--address", f"there is no {name} scheduler at '{address}': {error}", f"start one: {start}")

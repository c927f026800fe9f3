"""Run a lifted function: chunks of a fixed grid, a store to resume from, several processes or an executor to share it.

A function in two stages is two programs. Of a prepared run, members go through the first while the second is still
being compiled, and wait, within the memory budget, for their turn.

The grid of chunks follows from the number of members, the chunk and the devices alone, never from what is finished; of
several processes each owns every k-th chunk of it, whenever it arrives. Before results are returned every member is
accounted for.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict, Unpack, runtime_checkable

import jax
import numpy as np
from jaxtyping import PyTree

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.ensemble import dispatch, spans
from dae_theory.ensemble.lifting import Lifted
from dae_theory.ensemble.spans import Lost, Span
from dae_theory.ensemble.stages import Stages


@runtime_checkable
class Store(Protocol):
    """Where finished chunks are kept, so that an interrupted run can go on (`records.ChunkStore` keeps files)."""

    def spans(self) -> list[Span]:
        """(start, stop) of all that is kept, at little cost."""
        ...

    def finished(self, expected: Sequence[Any]) -> dict[Span, list[np.ndarray]]:
        """(start, stop) -> leaves, checked against shapes and dtypes of the whole result's leaves."""
        ...

    def save(self, start: int, stop: int, leaves: Sequence[np.ndarray], seconds: float = 0.0) -> None:
        """Keep the leaves of the result for members start … stop−1, durably, before returning."""
        ...


class Options(TypedDict, total=False):
    """How `run` and `prepare` go about it; all may be left out.

    Attributes:
        chunk: members a program call, by default a tenth of them, for progress and resume; rounded up to what all
            devices take at once.
        memory_budget: bytes that a call may take (2 GiB): a call of more is cut.
        group: members run together on one device; by default 8 on CPU, the whole chunk elsewhere. 1 pays on CPU where
            weights and batch of one member are of a megabyte.
        devices: by default all of this process; a CPU is one device unless `jax.config.update("jax_num_cpu_devices",
            cores)` makes it one a core, as sims do.
        store: keeps finished chunks; those it holds are not run again. Needed with several processes, which share the
            work and meet in the store (a shared file system).
        executor: any `concurrent.futures.Executor` whose workers run the chunks (threads, processes, a Dask cluster's
            `client.get_executor()`); this process alone reads and writes the store.
        retries: how often a chunk lost with its worker is given out again (2).
        patience: seconds that a process waits for a chunk of the others before it gives up (3600).
        then: a second stage, `then((point, result), shared)`, whose results are the run's. A prepared one is compiled
            while members go through the first, whose results are arrays, no keys; those that wait take up to another
            `memory_budget`, and are not stored.
    """

    chunk: int | None
    memory_budget: int
    group: int | None
    devices: Sequence[Any] | None
    store: Store | None
    executor: Executor | None
    retries: int
    patience: float
    then: Callable[[PyTree, PyTree], PyTree] | None


def run(
    function: Callable[[PyTree, PyTree], PyTree],
    points: PyTree,
    shared: PyTree = None,
    *,
    progress: Callable[[float], None] | None = None,
    **options: Unpack[Options],
) -> PyTree:
    """`function(point, shared)` for every member.

    Args:
        function: one member's point and the shared arrays -> a pytree of arrays. On several CPU devices it should not
            decompose stacks of matrices (svd, eigh, qr): XLA's CPU runtime can then wait for itself forever. Decompose
            beforehand, or pass one device.
        points: pytree of arrays with one leading axis of M members (typed keys allowed).
        shared: pytree of arrays that every member reads (a pool of samples), held once a device.
        progress: called with the number of members just finished (those found in the store included); one that has only
            its first stage of two behind it counts one half.
        options: see `Options`.

    Returns:
        The results with a leading axis M, in the order of `points`.

    Raises:
        ValueError: no members, leading axes that differ, a store of another run, or several processes without a store.
        Lost: members are missing at the end, named; a process or a worker was lost.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import ensemble, theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> levels = jnp.array([0.1, 0.2, 0.4])
    >>> losses = ensemble.run(
    ...     lambda noise_std, x: theory.memorizing_loss(x, noise_std=noise_std), levels, x, devices=jax.devices()[:1]
    ... )
    >>> print(losses.round(4))
    [0.01   0.0396 0.1537]
    """
    return _plan(function, points, shared, **options).result(progress)


@dataclass
class Prepared:
    """A run whose program is being compiled in the background; `result` waits for it."""

    _planning: Future

    def result(self, progress: Callable[[float], None] | None = None) -> PyTree:
        """What `run` returns."""
        return self._planning.result().result(progress)


_compiler = ThreadPoolExecutor(1, thread_name_prefix="compile")


def prepare(
    function: Callable[[PyTree, PyTree], PyTree], points: PyTree, shared: PyTree = None, **options: Unpack[Options]
) -> Prepared:
    """Begin to compile a run and return at once: `prepare(…).result()` is `run(…)`.

    Prepare the next run before asking for the present one's result, and it compiles while the present one trains.

    Args:
        function: see `run`.
        points: see `run`.
        shared: see `run`.
        options: see `Options`.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import ensemble
    >>> compiling = ensemble.prepare(lambda point, _: point**2, jnp.arange(4.0), devices=jax.devices()[:1])
    >>> print(compiling.result())
    [0. 1. 4. 9.]
    """
    planning: Future[_Plan] = Future()

    def work() -> None:  # one task, so that both stages of a run come before the first of the next
        try:
            plan = _plan(function, points, shared, **options)
            plan.ahead(lambda: planning.set_result(plan))
        except BaseException as error:
            if planning.done():
                raise
            planning.set_exception(error)

    _compiler.submit(work)
    return Prepared(planning)


def _plan(
    function: Callable[[PyTree, PyTree], PyTree],
    points: PyTree,
    shared: PyTree,
    *,
    chunk: int | None = None,
    then: Callable[[PyTree, PyTree], PyTree] | None = None,
    memory_budget: int = 2 * 1024**3,
    group: int | None = None,
    devices: Sequence[Any] | None = None,
    store: Store | None = None,
    executor: Executor | None = None,
    retries: int = 2,
    patience: float = 3600.0,
) -> "_Plan":
    checks.integer("retries", retries, 0)
    checks.positive("patience", patience)
    if jax.process_count() > 1 and store is None:
        raise Refusal(f"store must be given when {jax.process_count()} processes share the work; got None")
    if jax.process_count() > 1 and executor is not None:
        raise Refusal(f"executor must be None when {jax.process_count()} processes share the work; got {executor}")
    options = {"devices": devices, "group": group, "memory_budget": memory_budget}
    lifted = Lifted(function, points, shared, chunk=chunk, **options)
    job = None
    if executor is not None:
        job = dispatch.Job(executor, function, then, points, shared, lifted.chunk, retries, options)
    return _Plan(Stages(lifted, then), store, job, patience)


@dataclass
class _Plan:
    """Everything that a run needs; its grid is fixed before it is known what is finished."""

    stages: Stages
    store: Store | None
    job: dispatch.Job | None
    patience: float

    def __post_init__(self):
        self.members = self.stages.first.members
        self.grid = spans.cells(self.members, self.stages.first.chunk)

    def ahead(self, ready: Callable[[], None]) -> None:
        """Compile, unless nothing is left to compute here; call back as soon as chunks can be computed."""
        if self.job is None and spans.uncovered((0, self.members), self._kept()):
            self.stages.ahead(ready)
        else:
            ready()

    def _kept(self) -> list[Span]:
        return [] if self.store is None else self.store.spans()

    def _finished(self) -> dict[Span, list[np.ndarray]]:
        """What is kept, checked against shapes that need not be known as long as nothing is."""
        if self.store is None or not self._kept():
            return {}
        return dict(self.store.finished(self.stages.last.expected))

    def result(self, progress: Callable[[float], None] | None) -> PyTree:
        """Find what is kept, compute what is missing, account for every member, join."""
        report = progress or (lambda count: None)
        found = self._finished()
        report(sum(stop - start for start, stop in found))
        self.began = time.perf_counter()

        def done(span: Span, leaves: list[np.ndarray]) -> None:
            now = time.perf_counter()
            if self.store is not None:
                self.store.save(*span, leaves, now - self.began)
            self.began = now
            found[span] = leaves

        def given_back(span: Span, leaves: list[np.ndarray]) -> None:
            done(span, leaves)
            report(span[1] - span[0])

        own = self.grid[jax.process_index() :: jax.process_count()]
        missing = [gap for cell in own for gap in spans.uncovered(cell, found)]
        if self.job is not None:
            self.job.run(missing, given_back)
        else:
            self.stages.compute(missing, done, report)
        if jax.process_count() > 1 and self.store is not None:
            self._await_others(self.store)
            found = self._finished()
        return self._joined(found)

    def _await_others(self, store: Store) -> None:
        """Wait until the store holds every member; the store is where processes meet."""
        whole, missing, since = (0, self.members), None, time.monotonic()
        while gaps := spans.uncovered(whole, store.spans()):
            if gaps != missing:
                missing, since = gaps, time.monotonic()
            if time.monotonic() - since > self.patience:
                owners = {
                    i % jax.process_count() for i, cell in enumerate(self.grid) for gap in gaps if _meet(cell, gap)
                }
                raise Lost(
                    f"members {spans.show(gaps)} of processes {sorted(owners)} did not appear in the store for "
                    f"{self.patience:g} s: look whether these still run and write to the same folder, then run again"
                )
            time.sleep(min(1.0, 0.05 + 0.02 * (time.monotonic() - since)))

    def _joined(self, found: dict[Span, list[np.ndarray]]) -> PyTree:
        members = self.members
        gaps = spans.uncovered((0, members), found)
        wrong = [span for span, leaves in found.items() if any(len(leaf) != span[1] - span[0] for leaf in leaves)]
        if gaps or wrong or sum(stop - start for start, stop in found) != members:
            what = (
                f"missing {spans.show(gaps)}" if gaps else f"of another length or twice, {spans.show(wrong or found)}"
            )
            raise Lost(f"not all of {members} members are accounted for: {what}; run again to compute them")
        parts = [found[span] for span in sorted(found)]
        results = [jax.device_put(np.concatenate(pieces)) for pieces in zip(*parts, strict=True)]
        return jax.tree.unflatten(self.stages.last.structure, results)


def _meet(cell: Span, gap: Span) -> bool:
    return cell[0] < gap[1] and gap[0] < cell[1]

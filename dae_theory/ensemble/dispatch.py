"""Chunks as independent tasks of an executor: threads, processes (spawned, not forked), workers of a cluster.

A task is the function and the shared arrays, pickled once a run, and one chunk's points. A worker of other versions or
sources refuses it by name. It answers with results, or with the error that the function raised; when it answers
nothing, because it was lost, the chunk is given out again.
"""

import contextlib
import functools
import hashlib
import pickle
import platform
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from dae_theory import records
from dae_theory.checks import Refusal
from dae_theory.ensemble.lifting import Form, Lifted, flatten
from dae_theory.ensemble.spans import Lost, Span, cells
from dae_theory.ensemble.stages import Stages
from dae_theory.files import digest


@dataclass
class Job:
    """One run given out to an executor; `run` does it."""

    executor: Executor
    function: Callable[[PyTree, PyTree], PyTree]
    then: Callable[[PyTree, PyTree], PyTree] | None
    points: PyTree
    shared: PyTree
    chunk: int
    retries: int
    options: dict[str, Any]

    def __post_init__(self):
        if self.options["devices"] is not None and not isinstance(self.executor, ThreadPoolExecutor):
            raise Refusal("devices must be None with an executor of other processes, whose workers take their own")

    def run(self, missing: Sequence[Span], done: Callable[[Span, list[np.ndarray]], None]) -> None:
        """Give out the missing members in chunks; call `done` for each as it comes back, in this thread.

        Raises:
            Lost: a chunk was lost with its worker once more often than `retries` allows.
        """
        if not missing:
            return
        leaves, form = flatten(self.points)
        leaves, payload = [np.asarray(leaf) for leaf in leaves], self._payload(form)
        left = {
            (start + a, start + b): self.retries for start, stop in missing for a, b in cells(stop - start, self.chunk)
        }
        pending: dict[Future, Span] = {}

        def give_out(span: Span) -> None:  # a short chunk repeats its last member: one shape, one program
            index = np.minimum(np.arange(span[0], span[0] + self.chunk), span[1] - 1)
            pending[self.executor.submit(_task, payload, [leaf[index] for leaf in leaves])] = span

        try:
            for span in left:
                give_out(span)
            while pending:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    span = pending.pop(future)
                    try:
                        answer = future.result()
                    except BaseException as lost:  # the engine's own, of any class: the task itself never raises
                        if isinstance(lost, KeyboardInterrupt) or left[span] == 0:
                            raise Lost(_told(span, self.retries - left[span] + 1, lost)) from lost
                        left[span] -= 1
                        give_out(span)
                        continue
                    if isinstance(answer, BaseException):
                        raise answer
                    done(span, [leaf[: span[1] - span[0]] for leaf in answer])
        finally:
            for future in pending:
                future.cancel()

    def _payload(self, form: Form) -> Any:
        shared, shared_form = flatten(self.shared)
        content = _Content(
            function=self.function,
            then=self.then,
            points=_blank(form),
            keys=form.keys,
            shared=[np.asarray(leaf) for leaf in shared],
            shared_tree=_blank(shared_form),
            shared_keys=shared_form.keys,
            options=self.options,
            x64=bool(jax.config.read("jax_enable_x64")),
        )
        if isinstance(self.executor, ThreadPoolExecutor):
            return content
        try:
            import cloudpickle as pickler  # also takes closures and what __main__ defines
        except ImportError:
            pickler = pickle
        packages = _packages(self.function, self.then)
        return _requirements(packages), packages, pickler.dumps(content)


@dataclass(frozen=True, eq=False)
class _Content:
    """What all tasks of a run share. Trees travel with their leaves blanked, since their bare structure may not."""

    function: Callable[[PyTree, PyTree], PyTree]
    then: Callable[[PyTree, PyTree], PyTree] | None
    points: PyTree
    keys: tuple[Any, ...]
    shared: list[np.ndarray]
    shared_tree: PyTree
    shared_keys: tuple[Any, ...]
    options: dict[str, Any]
    x64: bool


def _blank(form: Form) -> PyTree:
    return jax.tree.unflatten(form.structure, [0] * form.structure.num_leaves)


def _told(span: Span, times: int, lost: BaseException) -> str:
    often = f"{times} times, the last time" if times > 1 else "once,"
    return (
        f"members {span[0]}:{span[1]} were lost with their worker {often} "
        f"by {type(lost).__name__} ({lost}); finished chunks are kept, run again to go on"
    )


def _task(payload: Any, leaves: list[np.ndarray]) -> list[np.ndarray] | BaseException:
    """On a worker: the leaves of the result for one chunk, or the error that the function raised."""
    try:
        if isinstance(payload, _Content):
            content = payload
        else:
            wanted, packages, pickled = payload
            _refuse_other_versions(wanted, _requirements(packages))
            content = _unpickled(pickled)
        with jax.enable_x64(content.x64):
            points = Form(jax.tree.structure(content.points), content.keys).build(leaves)
            shared = Form(jax.tree.structure(content.shared_tree), content.shared_keys).build(content.shared)
            members = len(leaves[0])
            lifted = Lifted(content.function, points, shared, chunk=members, **content.options)
            lifted.compile()
            stages = Stages(lifted, content.then)
            parts = [stages(*span) for span in cells(members, lifted.chunk)]
            return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
    except Exception as error:
        with contextlib.suppress(Exception):
            error.add_note(f"on worker {platform.node()}:\n{traceback.format_exc()}")
            return pickle.loads(pickle.dumps(error))
        return RuntimeError(f"{type(error).__name__} on worker {platform.node()}: {error}")


@functools.lru_cache(maxsize=4)
def _unpickled(pickled: bytes) -> _Content:
    """One function object for all chunks of a run, so that they share its program."""
    return pickle.loads(pickled)


def _packages(*functions: Callable[..., Any] | None) -> tuple[str, ...]:
    """The top-level packages that the functions come from, besides this one; a script's own is none."""
    found = set()
    for function in functions:
        while isinstance(function, functools.partial):
            function = function.func
        found.add((getattr(function, "__module__", None) or "__main__").split(".")[0])
    return tuple(sorted(found - {"__main__", "builtins", "dae_theory"}))


@functools.cache
def _requirements(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions, and digests of the sources that decide the numbers."""
    found = dict(records.versions())
    for name in ("dae_theory", *packages):
        with contextlib.suppress(ImportError):
            __import__(name)
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None and Path(file).name == "__init__.py":
            sources = sorted(Path(file).parent.rglob("*.py"))
            text = "".join(path.relative_to(Path(file).parent).as_posix() + digest(path) for path in sources)
            found[f"sources of {name}"] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return found


def _refuse_other_versions(wanted: dict[str, str], here: dict[str, str]) -> None:
    differ = [
        f"{name} {here.get(name, 'none')} instead of {value}"
        for name, value in wanted.items()
        if here.get(name) != value
    ]
    if differ:
        raise Refusal(f"executor must have workers like the caller; worker {platform.node()} has {', '.join(differ)}")

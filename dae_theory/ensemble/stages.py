"""A function in one stage or in two, of which the second may be compiled while members go through the first.

A member's results then are `then((point, result), shared)` with `result = function(point, shared)`: two programs, each
compiled in less time than one that does both. Results of the first stage wait in memory, within its budget.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import PyTree

from dae_theory.ensemble.lifting import Lifted
from dae_theory.ensemble.spans import Span, cells

Done = Callable[[Span, list[np.ndarray]], None]
Report = Callable[[float], None]


@dataclass
class Stages:
    """What a run calls for its chunks.

    Attributes:
        first: the first stage, lifted.
        then: the second stage's function, if there is one.
    """

    first: Lifted
    then: Callable[[PyTree, PyTree], PyTree] | None = None
    _second: Lifted | None = field(default=None, init=False, repr=False)
    _tracing: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _compiling: "Future[None] | None" = field(default=None, init=False, repr=False)

    @property
    def last(self) -> Lifted:
        """The stage whose results are the run's: traced, by the first thread that asks, not compiled."""
        if self.then is None:
            return self.first
        with self._tracing:
            if self._second is None:
                self._second = self.first.then(self.then)
        return self._second

    def ahead(self, first_is_ready: Callable[[], None]) -> None:
        """Compile the first stage, call back, compile the second: another thread may call `compute` from then on."""
        self.first.compile()
        if self.then is not None:
            self._compiling = Future()
        first_is_ready()
        if self._compiling is None:
            return
        try:
            self._compile_second()
        except BaseException as error:
            self._compiling.set_exception(error)
        else:
            self._compiling.set_result(None)

    def compute(self, spans: Iterable[Span], done: Done, report: Report) -> None:
        """Call `done` with the results of every span; a member whose first stage is done is reported as one half."""
        if self.then is not None:
            self._through_both(self._pieces(spans), done, report)
            return
        for span in self._pieces(spans):
            done(span, self.first(*span))
            report(span[1] - span[0])

    def _pieces(self, spans: Iterable[Span]) -> Iterator[Span]:
        for start, stop in spans:
            self.first.compile()  # which may lower its chunk
            yield from ((start + low, start + high) for low, high in cells(stop - start, self.first.chunk))

    def __call__(self, start: int, stop: int) -> list[np.ndarray]:
        """Leaves of the run's result for members start … stop−1, at most a chunk of them."""
        results = self.first(start, stop)
        return results if self.then is None else self._through_second((start, stop), results)

    def _through_both(self, pieces: Iterable[Span], done: Done, report: Report) -> None:
        waiting: deque[tuple[Span, list[np.ndarray]]] = deque()

        def finish() -> None:
            span, given = waiting.popleft()
            done(span, self._through_second(span, given))
            report((span[1] - span[0]) / 2)

        for span in pieces:
            results = self.first(*span)
            report((span[1] - span[0]) / 2)
            waiting.append((span, results))
            while waiting and (self._need_not_wait() or _held(waiting) > self.first.memory_budget):
                finish()
        while waiting:
            finish()

    def _through_second(self, span: Span, given: list[np.ndarray]) -> list[np.ndarray]:
        """The second stage, which may take fewer members at once than the first."""
        if self._compiling is None:
            self._compile_second()
        else:
            self._compiling.result()
        last = self.last
        parts = [
            last(span[0] + low, span[0] + high, [leaf[low:high] for leaf in given])
            for low, high in cells(span[1] - span[0], last.chunk)
        ]
        return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]

    def _compile_second(self) -> None:
        last = self.last
        last.at_most(self.first.chunk)
        last.compile()

    def _need_not_wait(self) -> bool:
        return self._compiling is None or self._compiling.done()


def _held(waiting: Iterable[tuple[Span, list[np.ndarray]]]) -> int:
    return sum(leaf.nbytes for _, given in waiting for leaf in given)

"""A function in one stage or in two, of which the second is compiled while members go through the first.

A member's results then are `then((point, result), shared)` with `result = function(point, shared)`: two programs, each
compiled in less time than one that does both. Results of the first stage wait in memory, within its budget.
"""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import PyTree

from dae_theory.ensemble.lifting import Lifted
from dae_theory.ensemble.spans import Span, cells


@dataclass
class Stages:
    """What a run calls for its chunks.

    Attributes:
        first: the first stage, lifted.
        then: the second stage's function, if there is one.
    """

    first: Lifted
    then: Callable[[PyTree, PyTree], PyTree] | None = None
    _second: "Future[Lifted] | None" = field(default=None, repr=False)

    def ahead(self, background: Executor) -> None:
        """Compile the first stage now, and the second in the background."""
        self.first.compile()
        if self.then is not None:
            self._second = background.submit(self._following, compiled=True)

    def last(self) -> Lifted:
        """The stage whose results are the run's."""
        if self.then is None:
            return self.first
        if self._second is None:
            self._second = Future()
            self._second.set_result(self._following(compiled=False))
        return self._second.result()

    def compute(
        self, spans: Iterable[Span], done: Callable[[Span, list[np.ndarray]], None], report: Callable[[float], None]
    ) -> None:
        """Call `done` with the results of every span; a member whose first stage is done is reported as one half."""
        waiting: deque[tuple[Span, list[np.ndarray]]] = deque()
        bytes_waiting = 0

        def finish() -> None:
            nonlocal bytes_waiting
            span, given = waiting.popleft()
            bytes_waiting -= _bytes(given)
            done(span, self._through(self.last(), span, given))
            report((span[1] - span[0]) / 2)

        for start, stop in spans:
            self.first.compile()  # which may lower its chunk
            for low in range(start, stop, self.first.chunk):
                span = low, min(low + self.first.chunk, stop)
                results = self.first(*span)
                if self.then is None:
                    done(span, results)
                    report(span[1] - span[0])
                    continue
                report((span[1] - span[0]) / 2)
                waiting.append((span, results))
                bytes_waiting += _bytes(results)
                while waiting and (self._second_is_ready() or bytes_waiting > self.first.memory_budget):
                    finish()
        while waiting:
            finish()

    def __call__(self, start: int, stop: int) -> list[np.ndarray]:
        """Leaves of the run's result for members start … stop−1, at most a chunk of them."""
        results = self.first(start, stop)
        return results if self.then is None else self._through(self.last(), (start, stop), results)

    def _following(self, *, compiled: bool) -> Lifted:
        assert self.then is not None
        second = self.first.then(self.then)
        if compiled:
            second.compile()
        return second

    def _second_is_ready(self) -> bool:
        return self._second is None or self._second.done()

    @staticmethod
    def _through(second: Lifted, span: Span, given: list[np.ndarray]) -> list[np.ndarray]:
        """The second stage, which may take fewer members at once than the first."""
        second.compile()
        parts = [
            second(span[0] + low, span[0] + high, [leaf[low:high] for leaf in given])
            for low, high in cells(span[1] - span[0], second.chunk)
        ]
        return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]


def _bytes(leaves: list[np.ndarray]) -> int:
    return sum(leaf.nbytes for leaf in leaves)

"""What `compute` gets beside its configuration: an ensemble runner that keeps chunks, and progress."""

import sys
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import jax
from tqdm import tqdm

from dae_theory import ensemble, records
from sims.launch import interruption
from sims.launch.options import Launch
from sims.launch.progress import Progress


@dataclass
class Run:
    """One launch of a sim.

    Attributes:
        launch: where and how.
        record: where the result goes, and the chunks before.
        models: how many are trained in all.
        model_steps: how many optimizer steps they take.
        executor: of the workers that chunks are given out to, if any.
    """

    launch: Launch
    record: records.Record
    models: int = 0
    model_steps: int = 0
    executor: Executor | None = None
    _progress: Progress | None = field(default=None, repr=False)

    def expect(self, models: int, model_steps: int) -> None:
        """Announce how many models the sim trains, and how many optimizer steps they take in all."""
        self.models, self.model_steps = models, model_steps
        self._progress = Progress(models, self.record.name, shown=jax.process_index() == 0)

    def advance(self, models: float = 1) -> None:
        """Report models finished, halves where one is trained but not measured."""
        if self._progress is not None:
            self._progress.update(models)
        interruption.check()

    def say(self, words: str) -> None:
        """Tell of work that is no model's training, so that minutes of it do not pass in silence."""
        if jax.process_index() == 0:
            tqdm.write(f"{self.record.name}: {words}", file=sys.stderr)
        interruption.check()

    def close(self) -> None:
        """Nothing more comes."""
        if self._progress is not None:
            self._progress.close()

    def prepare(
        self, part: str, function: Callable[..., Any], points: Any, shared: Any = None, **options: Any
    ) -> ensemble.Prepared:
        """`ensemble.prepare`, as `ensemble` runs it: compiles in the background until `result(self.advance)`."""
        return ensemble.prepare(function, points, shared, **self._options(part, options))

    def ensemble(self, part: str, function: Callable[..., Any], points: Any, shared: Any = None, **options: Any) -> Any:
        """`ensemble.run`, with this launch's devices, memory, chunk and the record's chunk store for `part`."""
        return ensemble.run(function, points, shared, progress=self.advance, **self._options(part, options))

    def _options(self, part: str, options: dict[str, Any]) -> dict[str, Any]:
        if self.executor is not None:
            options = {name: value for name, value in options.items() if name != "devices"}  # workers take their own
        store = self.record.chunks(part)
        if self._progress is not None:
            self._progress.already(sum(stop - start for start, stop in store.spans()))
        return {
            "chunk": self.launch.chunk,
            "memory_budget": int(self.launch.memory_gib * 1024**3),
            "store": store,
            "executor": self.executor,
            "patience": self.launch.patience,
            **options,
        }

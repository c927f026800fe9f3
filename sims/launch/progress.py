"""Progress with a rate and a time to go: a bar in a terminal, a line now and then in a file or pipe."""

import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

SHARE, SECONDS = 0.1, 30.0  # a line every tenth of the way or half a minute, whichever comes first
BAR = "{l_bar}{bar}| {n:.0f}/{total} [{elapsed}<{remaining}, {rate_fmt}]"  # halves of models are not shown


class Progress:
    """Counts finished models.

    Args:
        total: models.
        name: of the sim.
        stream: where it is shown; standard error by default.
        shown: False for silence.
    """

    def __init__(self, total: int, name: str, *, stream: TextIO | None = None, shown: bool = True):
        self._stream = stream or sys.stderr
        self._total, self._name, self._done, self._before = total, name, 0.0, 0
        self._bar: Any = None
        self._lines = False
        if shown and self._stream.isatty():
            self._bar = tqdm(
                total=total, unit="model", desc=name, smoothing=0.05, file=self._stream, bar_format=BAR, mininterval=0.5
            )
        else:
            self._lines = shown
        self._started = self._last_time = time.monotonic()
        self._last_share = 0.0

    def already(self, count: int) -> None:
        """That many of the models to be reported were finished by an earlier run: they say nothing of the rate."""
        self._before += count

    def update(self, count: float = 1) -> None:
        """Some more models are finished."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._lines and self._due():
            self._say()

    def close(self) -> None:
        """Nothing more comes."""
        if self._bar is not None:
            self._bar.close()

    def _due(self) -> bool:
        share = self._done / max(self._total, 1)
        late = time.monotonic() - self._last_time >= SECONDS
        return share >= 1 or share - self._last_share >= SHARE or (late and share > self._last_share)

    def _say(self) -> None:
        now = time.monotonic()
        share, passed = self._done / max(self._total, 1), now - self._started
        own = self._done - self._before
        left = f", {passed / own * (self._total - self._done):.0f} s to go" if own > 0 and share < 1 else ""
        print(
            f"{self._name}: {self._done:.0f} of {self._total} models ({share:.0%}), {passed:.0f} s{left}",
            file=self._stream,
            flush=True,
        )
        self._last_share, self._last_time = share, now

"""Ctrl-C and SIGTERM end a sim with one line and the status that shells expect (130, 143), whatever it is doing.

The first signal is an interruption, so that files are closed and locks are let go of; a second one ends at once. In the
middle of a compiled program it is noticed when the program is done. Python throws away what is raised inside a callback
of its garbage collector, so a sim also looks after every chunk whether there was a signal (`check`).
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

_got: list[int] = []  # signals since the sim began
NOTHING = "nothing is kept, the same command begins anew"


@contextlib.contextmanager
def in_a_sentence(name: str) -> Iterator[list[Callable[[], str]]]:
    """A block that an interruption ends with one line and a status.

    Yields:
        An empty list. What is put there says, when the time comes, what is left of the work; the last one is asked.
    """
    _got.clear()
    left: list[Callable[[], str]] = []
    with contextlib.ExitStack() as restored:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                restored.callback(signal.signal, number, signal.signal(number, _interrupt) or signal.SIG_DFL)
            restored.callback(setattr, sys, "unraisablehook", sys.unraisablehook)
            sys.unraisablehook = _untold
        try:
            yield left
        except KeyboardInterrupt:
            number = _got[0] if _got else signal.SIGINT
            word = "terminated" if number == signal.SIGTERM else "interrupted"
            print(f"\n{name}: {word}; {left[-1]() if left else NOTHING}", file=sys.stderr, flush=True)
            sys.exit(128 + number)
        except BrokenPipeError:  # whoever read the output has seen enough, as `head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)


def check() -> None:
    """Raises KeyboardInterrupt if a signal came whose own was thrown away."""
    if _got:
        raise KeyboardInterrupt


def _untold(thrown_away: Any) -> None:
    """What Python says of an exception that it throws away; of an interruption nothing, since `check` looks for it."""
    if thrown_away.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(thrown_away)


def _interrupt(number: int, frame: object) -> None:
    _got.append(number)
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt

"""Simulations, one file a claim: `python -m sims.NAME --help`. Each writes one record a configuration."""

import os
import signal
import sys


def _ended(number: int, frame: object) -> None:
    """Say so and end: nothing has begun that would have to be closed."""
    os.write(2, b"\ninterrupted\n")
    os._exit(128 + number)


if sys.argv[:1] == ["-m"]:  # run, not imported: until a sim takes over, Ctrl-C would trace the import that it met
    signal.signal(signal.SIGINT, _ended)

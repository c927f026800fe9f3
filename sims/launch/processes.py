"""Several processes of one run, by `jax.distributed`: how they meet, and what is said when they do not.

JAX ends a process that cannot connect by aborting it, with a trace of its own code. So a port that is taken or that
nobody listens at is found out beforehand, and a clock ends the process with a sentence before JAX would.
"""

import contextlib
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator

import jax

from dae_theory.checks import Refusal
from sims.launch.options import Launch

MEETING = 300.0  # seconds that processes wait for each other at the start, at most; --patience may shorten them


def validate(launch: Launch) -> None:
    """Raises ValueError for options of several processes that cannot be."""
    if launch.coordinator is None:
        for option, value in (("--processes", launch.processes), ("--process", launch.process)):
            if value is not None:
                raise Refusal(f"{option} goes with --coordinator HOST:PORT; got no --coordinator")
        return
    address(launch.coordinator)
    for option, value in (("--processes", launch.processes), ("--process", launch.process)):
        if value is None:
            raise Refusal(f"{option} must be given with --coordinator; got none")
    count, own = launch.processes or 0, launch.process or 0
    if count < 1:
        raise Refusal(f"--processes must be at least 1; got {count}")
    if not 0 <= own < count:
        raise Refusal(f"--process must be from 0 to --processes − 1 = {count - 1}; got {own}")


def address(coordinator: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT.

    Raises:
        ValueError: the text is none.
    """
    found = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):(\d{1,5})", coordinator)
    if found is None or not 0 < int(found[2]) < 65536:
        raise Refusal(f"--coordinator must be HOST:PORT, a port from 1 to 65535; got {coordinator!r}")
    return found[1].strip("[]"), int(found[2])


def meet(launch: Launch) -> None:
    """Join the others, or end with a sentence within the time of a meeting.

    Raises:
        ValueError: naming --coordinator: its port is taken, nobody listens there, or JAX knows no cluster here.
    """
    wait = min(MEETING, launch.patience)
    jax.config.update("jax_enable_recoverability", True)  # one that dies must not take the others with it
    who = "--distributed" if launch.coordinator is None else f"--coordinator {launch.coordinator}"
    if launch.coordinator is not None:
        host, port = address(launch.coordinator)
        if launch.process == 0:
            _refuse_taken(who, port)
        else:
            _await_listener(who, host, port, wait)
    words = f"{who}: not all processes were there within {wait:g} s: look whether each runs, with its own --process"
    with _clock(wait, words):
        try:
            jax.distributed.initialize(
                launch.coordinator, launch.processes, launch.process, initialization_timeout=int(wait) + 60
            )
        except (RuntimeError, ValueError) as error:
            raise Refusal(f"{who}: {str(error).splitlines()[0]}") from error


def _refuse_taken(who: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise Refusal(
                f"{who}: port {port} of this machine cannot be used ({error.strerror}): name another"
            ) from error


def _await_listener(who: str, host: str, port: int, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                what = error.strerror or str(error)
                raise Refusal(f"{who}: process 0 did not answer within {wait:g} s ({what}): start it too") from error
        time.sleep(0.2)


@contextlib.contextmanager
def _clock(seconds: float, words: str) -> Iterator[None]:
    """The process ends with these words unless the block ends before that many seconds are over."""

    def end() -> None:
        print(words, file=sys.stderr, flush=True)
        os._exit(1)  # the main thread hangs inside JAX

    clock = threading.Timer(seconds, end)
    clock.daemon = True
    clock.start()
    try:
        yield
    finally:
        clock.cancel()

"""What a phase diagram compiles: the same program for other data and seeds, and few small ones before it."""

import hashlib

import jax
import pytest

from dae_theory.ensemble.lifting import Lifted
from sims import launch, phase_diagram


class _Stop(Exception):
    pass


class _Run:
    """Takes the place of a launched run: keeps the text of the first bucket's two programs, and ends."""

    program = ""

    def expect(self, models, model_steps):
        pass

    def prepare(self, part, function, points, shared, *, then):
        trains = Lifted(function, points, shared, devices=jax.devices()[:1], group=2, chunk=2, memory_budget=2**31)
        text = "".join(lifted._traced.lower().as_text() for lifted in (trains, trains.then(then)))
        self.program = hashlib.sha256(text.encode()).hexdigest()
        raise _Stop


def _program(*arguments):
    """(digest of the first bucket's programs, programs compiled before them)"""
    compiled = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration)

    sim = phase_diagram.SIM
    config, _ = launch.parse(sim.name, sim.config, sim.smoke, arguments)
    run = _Run()
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        with pytest.raises(_Stop):
            sim.compute(sim.resolve(config), run)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return run.program, len(compiled)


@pytest.mark.slow
def test_other_data_of_the_same_shapes_finds_the_program_compiled():
    """(the cache on disk is found by the program's text, so no seed, level or rate may be a constant of it)"""
    first, programs = _program("--smoke")
    assert programs <= 12  # the worlds and their keys
    other, more = _program("--smoke", "--seed", "1", "--noise-std", "0.3", "--weight-decay", "0.01")
    assert other == first
    assert more == 0
    assert _program("--smoke", "--generator", "threefry")[0] != first

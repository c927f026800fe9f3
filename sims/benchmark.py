"""How fast, beside what: every section is measured in one run, contestants taking turns.

python -m sims.benchmark                          all sections, half an hour on two cores
python -m sims.benchmark --sections nets map      some of them
python -m sims.benchmark --again                  once more on this machine

Times belong to a machine and an hour, ratios less so: rows are ratios, and the record names the machine and its load.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import xarray as xr

from dae_theory import compare
from sims import launch
from sims.benchmarks import default_map, generators, members, nets, objective, turns
from sims.launch import limits

Section = Literal["nets", "objective", "map", "members", "generators"]
MODULES: dict[str, Any] = {
    "nets": nets,
    "objective": objective,
    "map": default_map,
    "members": members,
    "generators": generators,
}


@dataclass(frozen=True)
class Config:
    """Measure the ensemble beside PyTorch, the exact objective beside autodiff and Monte Carlo, the default map, many
    members and devices, and whether results depend on the generator of the noise.
    """

    sections: tuple[Section, ...] = ("nets", "objective", "map", "members", "generators")
    """What to measure: nets (ensemble, PyTorch loop, torch.func.vmap), objective, map (the default phase diagram),
    members (up to 100,000; up to 8 simulated devices), generators (threefry and hashed)."""
    rounds: int = 7
    """Turns that contestants take."""
    clock: turns.Clock = "wall"
    """Of nets, objective and members; processor counts the seconds of a process on all processors, for a machine that
    others use too."""
    small: bool = False
    """Sizes that finish in seconds and say nothing."""


# the map alone starts three sims, a minute
SMOKE = {"small": True, "rounds": 2, "sections": ("nets", "objective", "members", "generators")}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.distinct(config, "sections")
    limits.at_least(config, rounds=1)
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Section after section."""
    ways: dict[str, Callable[[], xr.Dataset]] = {
        "nets": lambda: nets.measure(config.small, config.rounds, config.clock),
        "objective": lambda: objective.measure(config.small, config.rounds, config.clock),
        "map": lambda: default_map.measure(config.small),
        "members": lambda: members.measure(config.small, config.rounds, config.clock),
        "generators": lambda: generators.measure(config.small),
    }
    facts = turns.machine()
    found = []
    for section in config.sections:
        started = time.perf_counter()
        found.append(ways[section]())
        print(f"benchmark: {section}, {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return xr.merge(found, combine_attrs="drop_conflicts").assign_attrs(
        facts, load_after=load, clock=config.clock, sections=" ".join(config.sections)
    )


def _of(data: xr.Dataset) -> list[Any]:
    return [MODULES[section] for section in data.attrs["sections"].split()]


def judge(data: xr.Dataset) -> list[compare.Row]:
    """The rows of every section."""
    return [row for module in _of(data) for row in module.judge(data)]


def describe(data: xr.Dataset) -> str:
    """The machine, and a table a section."""
    facts = data.attrs
    load = f"load {facts['load_before']:.1f} before, {facts['load_after']:.1f} after"
    head = f"{facts['machine']}; {load}; seconds of the {facts['clock']}"
    return "\n\n".join([head, *(module.describe(data) for module in _of(data))])


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)

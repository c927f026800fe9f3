"""Refusals of numbers outside their range, which name the option, what was given and what is allowed."""

import math
from typing import Any

from dae_theory.checks import Refusal
from sims.launch.fields import flat

SEEDS = 2**63  # a root seed is below it


def option(name: str) -> str:
    """A field's name as it is written on the command line."""
    return f"--{name.replace('_', '-')}"


def sane(config: Any) -> None:
    """Raises ValueError for the first number of any field that is not finite, and for a seed out of range."""
    given = flat(config)
    for name, value in given.items():
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise Refusal(f"{option(name)} must be finite; got {number}")
    seed = given.get("seed", 0)
    if not 0 <= seed < SEEDS:
        raise Refusal(f"--seed must be from 0 to {SEEDS - 1}; got {seed}")


def above_zero(config: Any, *names: str) -> None:
    """Raises ValueError for the first of these numbers that is not > 0; of a tuple, for any entry."""
    given = flat(config)
    for name in names:
        value = given[name]
        for number in value if isinstance(value, tuple) else (value,):
            if not number > 0:
                raise Refusal(f"{option(name)} must be above 0; got {number}")


def at_least(config: Any, **least: float) -> None:
    """Raises ValueError for the first of these numbers that is below its least value; of a tuple, for any entry."""
    given = flat(config)
    for name, smallest in least.items():
        value = given[name]
        for number in value if isinstance(value, tuple) else (value,):
            if not number >= smallest:
                raise Refusal(f"{option(name)} must be at least {smallest}; got {number}")


def distinct(config: Any, *names: str, count: int = 1) -> None:
    """Raises ValueError for the first of these tuples that has fewer than `count` values, or one of them twice."""
    given = flat(config)
    for name in names:
        values = given[name]
        if len(values) < count or len(set(values)) != len(values):
            few = f"{count} or more " if count > 1 or not values else ""
            raise Refusal(f"{option(name)} must be {few}distinct values; got {list(values)}")


def one_of(config: Any, name: str, allowed: Any) -> None:
    """Raises ValueError for a value that is not among the allowed ones; of a tuple, for any entry."""
    value = flat(config)[name]
    for one in value if isinstance(value, tuple) else (value,):
        if one not in allowed:
            raise Refusal(f"{option(name)} must be one of {', '.join(map(str, allowed))}; got {one!r}")

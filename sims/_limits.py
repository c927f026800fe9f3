"""Refusals of numbers outside their range, which name the option, what was given and what is allowed."""

import dataclasses
import math
from typing import Any

SEEDS = 2**63  # a root seed is below it


def option(name: str) -> str:
    """A field's name as it is written on the command line."""
    return f"--{name.replace('_', '-')}"


def sane(config: Any) -> None:
    """Raises ValueError for the first number of any field that is not finite, and for a seed out of range."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise ValueError(f"{option(field.name)} must be finite; got {number}")
    seed = getattr(config, "seed", 0)
    if not 0 <= seed < SEEDS:
        raise ValueError(f"--seed must be from 0 to {SEEDS - 1}; got {seed}")


def above_zero(config: Any, *names: str) -> None:
    """Raises ValueError for the first of these numbers that is not > 0."""
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(f"{option(name)} must be above 0; got {getattr(config, name)}")


def at_least(config: Any, **least: float) -> None:
    """Raises ValueError for the first of these numbers that is below its least value."""
    for name, smallest in least.items():
        if not getattr(config, name) >= smallest:
            raise ValueError(f"{option(name)} must be at least {smallest}; got {getattr(config, name)}")

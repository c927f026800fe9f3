"""Refusals of numbers outside their range, which name the option, what was given and what is allowed."""

from typing import Any


def option(name: str) -> str:
    """A field's name as it is written on the command line."""
    return f"--{name.replace('_', '-')}"


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

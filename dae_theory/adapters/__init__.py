"""Bridges to other frameworks. Each module needs its own optional dependencies; importing this package needs none."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dae_theory.adapters import diffusers, torch

__all__ = ["diffusers", "torch"]


def __getattr__(name: str) -> ModuleType:
    """The bridge of that name, imported when it is first asked for."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

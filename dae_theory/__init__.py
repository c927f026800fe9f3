"""Exact theory and large ensembles of two-layer ReLU denoising autoencoders.

The model is f(y) = W₂ [W₁ᵀy]₊, trained at one noise level with weight decay. Importing the package sets no global
state, touches no device and loads no module: `dae_theory.theory` is imported when it is first asked for. Theory is
meant for float64 (`jax.config.update("jax_enable_x64", True)`).

>>> import dae_theory as dae
>>> x = dae.data.simplex_means(jax.random.key(0), dimension=4, components=3, radius=2.0)
>>> weights = dae.theory.memorizing_weights(x, noise_std=0.5, weight_decay=0.1)
>>> weights.decoder.shape
(4, 3)
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what editors and type checkers see of the modules below
    from dae_theory import (
        adapters,
        bivariate,
        boundary,
        certify,
        checks,
        compare,
        contraction,
        data,
        detection,
        diffusion,
        ensemble,
        gaussian,
        grid,
        memorization,
        model,
        noise,
        randomness,
        records,
        representation,
        risk,
        sampling,
        steering,
        symmetry,
        theory,
        training,
    )

__version__ = "0.1.0"

__all__ = [
    "adapters",
    "bivariate",
    "boundary",
    "certify",
    "checks",
    "compare",
    "contraction",
    "data",
    "detection",
    "diffusion",
    "ensemble",
    "gaussian",
    "grid",
    "memorization",
    "model",
    "noise",
    "randomness",
    "records",
    "representation",
    "risk",
    "sampling",
    "steering",
    "symmetry",
    "theory",
    "training",
]


def __getattr__(name: str) -> ModuleType:
    """The module of that name, imported when it is first asked for."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

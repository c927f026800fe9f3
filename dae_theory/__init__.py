r"""Exact theory and large ensembles of two-layer ReLU denoising autoencoders.

The model, eq. (5) of arXiv 2512.20963, has two layers and no biases,

$$f(y) = W_2\,[W_1^\top y]_+ , \qquad h(y) = [W_1^\top y]_+ ,$$

and is trained at one noise level with weight decay, eq. (6):

$$L(W_2, W_1) = \frac{1}{n} \sum_{i=1}^{n} \mathbb{E}_{\varepsilon \sim N(0, I)}
\left\| f(x_i + \sigma\varepsilon) - x_i \right\|^2 + \lambda \left( \|W_1\|_F^2 + \|W_2\|_F^2 \right)$$

Samples are rows (n, d), neurons columns (d, p). `theory` computes what should minimize it, `training` and `ensemble`
find what does, `certify` says what a point is, and `compare` puts both side by side. Records are frozen dataclasses of
flax: `record.replace(field=value)` gives a changed copy.

Importing the package sets no global state, touches no device and loads no module: `dae_theory.theory` is imported when
it is first asked for. Theory is meant for float64 (`jax.config.update("jax_enable_x64", True)`).

>>> import jax
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
        batches,
        biases,
        bivariate,
        boundary,
        certify,
        checks,
        chunks,
        compare,
        contraction,
        data,
        detection,
        diffusion,
        directions,
        dynamics,
        ensemble,
        files,
        gaussian,
        geometry,
        grid,
        initialization,
        intrinsic_dimension,
        knock_out,
        layered,
        layout,
        memorization,
        model,
        noise,
        randomness,
        records,
        representation,
        risk,
        sampling,
        schedules,
        silencing,
        steering,
        symmetry,
        theory,
        training,
    )

__version__ = "0.2.0"

__all__ = [
    "adapters",
    "batches",
    "biases",
    "bivariate",
    "boundary",
    "certify",
    "checks",
    "chunks",
    "compare",
    "contraction",
    "data",
    "detection",
    "diffusion",
    "directions",
    "dynamics",
    "ensemble",
    "files",
    "gaussian",
    "geometry",
    "grid",
    "initialization",
    "intrinsic_dimension",
    "knock_out",
    "layered",
    "layout",
    "memorization",
    "model",
    "noise",
    "randomness",
    "records",
    "representation",
    "risk",
    "sampling",
    "schedules",
    "silencing",
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

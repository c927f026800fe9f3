"""Time: the exact gradient flow of (6), when a run generalizes and memorizes, and how far it is from the lazy limit."""

from dae_theory.dynamics.flow import Flow, gradient_flow
from dae_theory.dynamics.tangent import (
    centered,
    centered_linearized,
    kernel_drift,
    linearized,
    tangent_kernel,
    weight_movement,
)

__all__ = [
    "Flow",
    "centered",
    "centered_linearized",
    "gradient_flow",
    "kernel_drift",
    "linearized",
    "tangent_kernel",
    "weight_movement",
]

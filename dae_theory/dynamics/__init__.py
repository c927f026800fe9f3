"""Time: the exact gradient flow of (6), when a run generalizes and memorizes, and how far it is from the lazy limit."""

from dae_theory.dynamics.flow import Flow, gradient_flow
from dae_theory.dynamics.scaling import Scaling, scaling_exponent
from dae_theory.dynamics.tangent import (
    centered,
    centered_linearized,
    kernel_drift,
    linearized,
    tangent_kernel,
    weight_movement,
)
from dae_theory.dynamics.times import Times, generalizing_time, memorizing_time

__all__ = [
    "Flow",
    "Scaling",
    "Times",
    "centered",
    "centered_linearized",
    "generalizing_time",
    "gradient_flow",
    "kernel_drift",
    "linearized",
    "memorizing_time",
    "scaling_exponent",
    "tangent_kernel",
    "weight_movement",
]

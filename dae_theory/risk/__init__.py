"""Losses and distances under noise: exact objective (6), test loss, distances of functions, sampled estimates."""

from dae_theory.risk.distances import affine_distance, mixture_network_distance, network_distance
from dae_theory.risk.exact import (
    MEMORY,
    arguments,
    expected_loss,
    mixture_loss,
    mixture_losses,
    shared_loss,
    shares,
)
from dae_theory.risk.sampled import Sampled, sampled_distance, sampled_loss

__all__ = [
    "MEMORY",
    "Sampled",
    "affine_distance",
    "arguments",
    "expected_loss",
    "mixture_loss",
    "mixture_losses",
    "mixture_network_distance",
    "network_distance",
    "sampled_distance",
    "sampled_loss",
    "shared_loss",
    "shares",
]

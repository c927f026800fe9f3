"""Noise-conditional networks: the published ReLU one, a small deep one, their training and checkpoints."""

from dae_theory.diffusion.checkpoints import Checkpoints
from dae_theory.diffusion.nets import Edit, Network, deep_network, relu_network
from dae_theory.diffusion.training import Settings, State, Store, Trained, train

__all__ = [
    "Checkpoints",
    "Edit",
    "Network",
    "Settings",
    "State",
    "Store",
    "Trained",
    "deep_network",
    "relu_network",
    "train",
]

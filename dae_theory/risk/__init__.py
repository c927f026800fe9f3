r"""Losses and distances under noise: exact objective (6), test loss, distances of functions, sampled estimates.

$$L(W_2, W_1) = \frac{1}{n} \sum_i \mathbb{E}_\varepsilon \left\| f(x_i + \sigma\varepsilon) - x_i \right\|^2
+ \lambda \left( \|W_1\|_F^2 + \|W_2\|_F^2 \right)$$

For any target t jointly Gaussian with y, with mean τ and cov(t, y) = B:

$$\mathbb{E} \|f(y) - t\|^2 = \langle W_2^\top W_2, \mathbb{E}\, h h^\top \rangle
- 2 \sum_j w_{2,j}^\top \left( \tau\, \mathbb{E}\, h_j + B\, w_{1,j} P(z_j > 0) \right) + \mathbb{E} \|t\|^2$$
"""

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

"""Samples on a simplex: equal norms, the smallest largest cosine there is, −1/(n − 1)."""

from dataclasses import dataclass

import jax

from dae_theory import data
from dae_theory.checks import Refusal
from dae_theory.randomness import derive
from sims.launch import limits


@dataclass(frozen=True)
class SimplexConfig:
    """n samples of one norm at equal angles, on which (9) is closest to a minimizer."""

    samples: int = 5
    """n of the simplex."""
    dimension: int = 10
    """d."""
    radius: float = 3.0
    """Norm of the samples."""

    def check(self, weight_decay: float, *, least: int = 2, option: str = "--weight-decay") -> None:
        """Raises ValueError for a simplex that does not exist, or a λ that is not from 0 < nλ < R²; `option` is λ's."""
        limits.above_zero(self, "radius")
        if not least <= self.samples <= self.dimension + 1:
            given = f"{least} to dimension + 1 = {self.dimension + 1}"
            raise Refusal(f"--samples must be from {given}; got {self.samples}")
        if not 0 < weight_decay < self.radius**2 / self.samples:
            most = f"radius²/samples = {self.radius**2 / self.samples:g}"
            raise Refusal(f"{option} must be above 0 and below {most}; got {weight_decay}")

    def draw(self, root: jax.Array) -> jax.Array:
        """The samples, (n, d), turned as the root's key `simplex` says."""
        numbers = {"dimension": self.dimension, "components": self.samples, "radius": self.radius}
        return data.simplex_means(derive(root, "simplex"), **numbers)

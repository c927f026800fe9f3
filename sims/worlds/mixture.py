"""The mixture that many sims share: means on a simplex, a few directions of spread around each."""

from dataclasses import dataclass

import jax

from dae_theory import data
from sims.launch import limits


@dataclass(frozen=True)
class MixtureConfig:
    """Gaussian components whose means have equal norms and cosines −1/(K − 1)."""

    components: int = 3
    """K, components of the mixture."""
    dimension: int = 32
    """d."""
    rank: int = 2
    """Directions of spread of a component."""
    radius: float = 6.0
    """Norm of the means."""
    spread: float = 0.5
    """Standard deviation of a component in each of its directions."""

    def check(self) -> None:
        """Raises ValueError for what cannot be drawn with spread orthogonal to the means."""
        limits.at_least(self, components=2, rank=1)
        limits.at_least(self, dimension=self.components - 1 + self.rank)
        limits.above_zero(self, "radius", "spread")

    def draw(self, key: jax.Array, *, clean: bool = True) -> data.GaussianMixture:
        """The mixture of a key; `clean`: spread orthogonal to all means."""
        return data.simplex_mixture(
            key,
            dimension=self.dimension,
            components=self.components,
            radius=self.radius,
            rank=self.rank,
            spread=self.spread,
            clean=clean,
        )

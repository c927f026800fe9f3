"""How nets are trained, as options that sims share."""

from dataclasses import dataclass
from typing import Any

from dae_theory.training import Settings
from sims.launch import limits


@dataclass(frozen=True)
class TrainingConfig:
    """Optimizer steps, how many noisy samples each sees, and the rate."""

    steps: int = 4000
    """Optimizer steps (warm-up and cosine decay)."""
    batch_size: int = 64
    """Noisy samples a step; with fewer samples each gets several draws."""
    learning_rate: float = 5e-3
    """Highest learning rate of the schedule."""

    def check(self) -> None:
        """Raises ValueError for numbers with which nothing can be trained."""
        limits.at_least(self, steps=1, batch_size=1)
        limits.above_zero(self, "learning_rate")

    def settings(self, **more: Any) -> Settings:
        """Settings of `training.train` with these numbers; the others as given."""
        return Settings(steps=self.steps, batch_size=self.batch_size, learning_rate=self.learning_rate, **more)

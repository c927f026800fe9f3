"""How nets are trained, as options that sims share."""

import sys
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

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
    generator: Literal["threefry", "hashed"] = "threefry"
    """Bits of the training noise. hashed trains in half to three quarters of the time on a CPU, with other draws of the
    same distribution: results agree within their errors, not digit by digit (python -m sims.benchmark)."""

    def check(self) -> None:
        """Raises ValueError for numbers with which nothing can be trained."""
        limits.at_least(self, steps=1, batch_size=1)
        limits.above_zero(self, "learning_rate")

    def settings(self, **more: Any) -> Settings:
        """Settings of `training.train` with these numbers; the others as given."""
        return Settings(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            hashed_noise=self.generator == "hashed",
            **more,
        )


def need_finite(name: str, finite: Any, learning_rate: float) -> None:
    """Ends the sim of this name with a sentence where no net is finite: then there is nothing to judge."""
    finite = np.asarray(finite)
    if not finite.any():
        sys.exit(f"{name}: all {finite.size} nets diverged at --learning-rate {learning_rate:g}; give a smaller one")


def told_diverged(finite: Any) -> list[str]:
    """A line where some nets diverged: they are missing from every mean and share."""
    gone, count = int((np.asarray(finite) == 0).sum()), np.asarray(finite).size
    return [f"{gone} of {count} nets diverged; they are left out"] if gone else []

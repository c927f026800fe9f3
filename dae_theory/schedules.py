"""When things happen in a run: factors on the learning rate, and steps at which to look."""

import numpy as np
import optax

from dae_theory import checks
from dae_theory.checks import Refusal


def constant_rate(steps: int) -> optax.Schedule:
    """The learning rate times 1 at every step."""
    del steps
    return optax.constant_schedule(1.0)


def warmup_then_decay(steps: int, *, warmup: float = 0.02, final: float = 0.001) -> optax.Schedule:
    """The learning rate times a factor: linear from 0 to 1 over the share `warmup`, then a cosine down to `final`."""
    rising = min(max(1, round(warmup * steps)), steps - 1)
    return optax.warmup_cosine_decay_schedule(0.0, 1.0, rising, steps, final)


def log_spaced(steps: int, count: int) -> tuple[int, ...]:
    """`count` distinct steps from 1 to `steps`, evenly spaced in the logarithm where whole numbers allow it.

    t_k = max(t_{k−1} + 1, steps^(k/(count−1)) rounded), from t_0 = 1; one step alone is the last. For `record_at`.

    Raises:
        ValueError: `steps` or `count` below 1, or more of them than steps.

    >>> from dae_theory import schedules
    >>> schedules.log_spaced(1000, 4)
    (1, 10, 100, 1000)
    """
    steps, count = checks.integer("steps", steps, 1), checks.integer("count", count, 1)
    if count > steps:
        raise Refusal(f"count must be at most steps = {steps}; got {count}")
    chosen = [0]
    for position in np.linspace(0, 1, count) if count > 1 else (1.0,):
        chosen.append(max(chosen[-1] + 1, round(steps**position)))
    return tuple(chosen[1:])

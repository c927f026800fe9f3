"""Does every numbered claim hold? One row each: predicted, measured, verdict.

Claims (3)-(11), Thm 3.1 and its corollaries, the additions [X1]-[X12], the closed forms of the exact risk, and the
errata, with the printed form's number beside the corrected one. What may be called equal is settled in `claims.claim`.
"""

from collections import Counter
from dataclasses import dataclass

import jax
import numpy as np
import xarray as xr

from dae_theory import compare
from sims import launch
from sims.claims import blocks, conventions, growth, population, risk, scores, solutions, trained
from sims.launch import limits


@dataclass(frozen=True)
class Config:
    """Check every claim of the theory against exact integration, quadrature, optimization, sampling and training."""

    seed: int = 0
    """Root of all randomness."""
    draws: int = 100_000
    """Noisy samples of a sampled claim."""
    trials: int = 100_000
    """Training sets on which the memorization rule's null rate is measured."""
    seeds: int = 8
    """Trained nets a problem."""
    steps: int = 3000
    """Optimizer steps of a trained net."""


SMOKE = {"draws": 2000, "trials": 2000, "seeds": 2, "steps": 50}
GROUPS = {
    "risk": risk,
    "solutions": solutions,
    "blocks": blocks,
    "population": population,
    "growth": growth,
    "conventions": conventions,
    "scores": scores,
    "trained": trained,
}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.at_least(config, draws=1000, trials=1000, seeds=2, steps=1)
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """All claims, group by group; they are rows from the beginning."""
    root = jax.random.key(config.seed)
    run.expect(len(GROUPS), 0)
    rows: list[compare.Row] = []
    names: list[str] = []
    for name, group in GROUPS.items():
        found = group.claims(config, root)
        rows += found
        names += [name] * len(found)
        run.advance()
    return compare.keep(xr.Dataset({"group": ("row", np.asarray(names, dtype=object))}), rows)


def describe(data: xr.Dataset) -> str:
    """How many claims got each verdict."""
    counts = Counter(row.verdict for row in compare.kept(data) if row.predicted is not None)
    words = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    errata = sorted({row.erratum or 0 for row in compare.kept(data) if row.printed is not None})
    return launch.wrap(
        f"{counts.total()} claims: {words}. Where a printed form stands beside (errata {', '.join(map(str, errata))}),"
        " the verdict is that of the corrected form, and agrees only if the printed one is told apart from it."
    )


SIM = launch.Sim(Config, compute, compare.kept, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)

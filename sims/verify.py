"""Does every numbered claim hold? One row each: predicted, measured, deviation, tolerance, verdict.

Claims (3)-(11), Thm 3.1 and its corollaries, the additions [X1]-[X5], the closed forms of the exact risk, and the
errata, with the printed form's number beside the corrected one. What may be called equal is settled in `claims.claim`.
"""

from collections import Counter
from dataclasses import dataclass

import jax
import numpy as np
import xarray as xr

from sims import launch
from sims.claims import blocks, growth, risk, scores, solutions
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
NUMBERS = ("predicted", "printed", "measured", "deviation", "tolerance", "sem")
WORDS = ("label", "statement", "relation", "verdict")


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.at_least(config, draws=1000, trials=1000, seeds=2, steps=1)
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """All claims, group by group."""
    groups = (risk, solutions, blocks, growth, scores)
    root = jax.random.key(config.seed)
    run.expect(len(groups), 0)
    rows = []
    for group in groups:
        rows += group.claims(config, root)
        run.advance()
    numbers = {name: ("claim", np.asarray([getattr(row, name) for row in rows], float)) for name in NUMBERS}
    words = {name: ("claim", np.asarray([getattr(row, name) for row in rows], dtype=object)) for name in WORDS}
    return xr.Dataset(numbers | words)


def report(data: xr.Dataset) -> str:
    """The table, and how many claims got each verdict."""
    rows = [
        [
            str(row["label"].values),
            str(row["statement"].values),
            f"{str(row['relation'].values).replace('=', '')}{float(row['predicted']):.6g}",
            "" if np.isnan(row["printed"]) else f"{float(row['printed']):.6g}",
            f"{float(row['measured']):.6g}",
            f"{float(row['deviation']):+.1e}",
            f"{float(row['tolerance']):.0e}",
            str(row["verdict"].values),
        ]
        for row in (data.isel(claim=k) for k in range(data.sizes["claim"]))
    ]
    counts = Counter(str(verdict) for verdict in data["verdict"].values)
    header = ["label", "claim", "predicted", "printed", "measured", "deviation", "tolerance", "verdict"]
    summary = "; ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    return f"{launch.table(rows, header)}\n\n{len(rows)} claims: {summary}"


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)

"""How often a table of scores cries wolf: labels drawn at random, by sample and by group, where nothing is memorized.

Scores of a source image's crops are alike. With labels at random by source a stated 95 % must cover ½ as often as it
says, and at most 5 % of whole tables may hold one row that excludes it.
"""

from dataclasses import dataclass

import jax
import numpy as np
import xarray as xr

from dae_theory import compare, detection
from dae_theory.checks import Refusal
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits


@dataclass(frozen=True)
class Config:
    """Score tables of noise with random labels, at several numbers of memorized and other sources."""

    memorized: tuple[int, ...] = (10, 100)
    """Memorized sources."""
    others: int = 100
    """Other sources."""
    crops: tuple[int, ...] = (1, 4)
    """Samples of each source."""
    alike: float = 0.8
    """Share of a score's variance that is the source's own."""
    common: float = 0.5
    """Share of a source's variance that all scores have in common."""
    rows: int = 20
    """Scores of a table."""
    tables: int = 200
    """Tables of each kind."""
    seed: int = 0
    """Root of all randomness."""


SMOKE = {"memorized": (10,), "crops": (1, 4), "rows": 5, "tables": 10}
LEVEL = 0.95


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.distinct(config, "memorized", "crops")
    limits.at_least(config, memorized=2, others=2, crops=1, rows=1, tables=2)
    for name in ("alike", "common"):
        if not 0 <= getattr(config, name) <= 1:
            raise Refusal(f"{limits.option(name)} must lie in [0, 1]; got {getattr(config, name)}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Whether each table's first interval covers ½, taken by source and by sample, and whether any row alarms."""
    shape = (len(config.memorized), len(config.crops), config.tables)
    run.expect(int(np.prod(shape)), 0)
    measured = {name: np.zeros(shape, dtype=bool) for name in ("covered", "covered_by_sample", "alarm", "any_single")}
    for place in np.ndindex(shape):
        count, crops = config.memorized[place[0]], config.crops[place[1]]
        key = derive(jax.random.key(config.seed), "table", *(int(index) for index in place))
        scores, groups, labels = _table(config, key, count, crops)
        found = detection.areas(scores, labels, groups=groups)
        level = detection.simultaneous_level(derive(key, "together"), found, scores, labels, groups=groups, level=LEVEL)
        single = [found.interval(row, level=LEVEL) for row in range(config.rows)]
        blind = detection.areas(scores[:1], labels).interval(0, level=LEVEL)
        measured["covered"][place] = _covers(single[0])
        measured["covered_by_sample"][place] = _covers(blind)
        measured["any_single"][place] = not all(map(_covers, single))
        measured["alarm"][place] = not all(_covers(found.interval(row, level=level)) for row in range(config.rows))
        run.advance()
    return xr.Dataset(
        {name: (("memorized", "crops", "table"), values.astype(np.int8)) for name, values in measured.items()},
        coords={"memorized": list(config.memorized), "crops": list(config.crops)},
    )


def _covers(interval: detection.Interval) -> bool:
    return bool(interval.low <= 0.5 <= interval.high)


def _table(config: Config, key: jax.Array, memorized: int, crops: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (rows, n) of sources with crops, the source of each sample, and labels at random by source."""
    sources = memorized + config.others
    rng = np.random.default_rng(np.asarray(jax.random.key_data(derive(key, "scores"))))
    own = np.sqrt(1 - config.common) * rng.standard_normal((config.rows, sources))
    own = own + np.sqrt(config.common) * rng.standard_normal(sources)
    groups = np.repeat(np.arange(sources), crops)
    crop = rng.standard_normal((config.rows, groups.size))
    scores = np.sqrt(config.alike) * own[:, groups] + np.sqrt(1 - config.alike) * crop
    return scores, groups, (rng.permutation(sources) < memorized)[groups]


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Coverage of single intervals, and tables that alarm."""
    rows = []
    for memorized in data["memorized"].values:
        for crops in data["crops"].values:
            at = data.sel(memorized=memorized, crops=crops)
            total = at.sizes["table"]
            kind = f"{memorized} memorized sources, {crops} {'crop' if crops == 1 else 'crops'} each"
            covered, alarms = int(at["covered"].sum()), int(at["alarm"].sum())
            rows.append(compare.share(f"a single 95 % interval covers ½: {kind}", "DeLong", covered, total, LEVEL))
            rows.append(
                compare.share(
                    f"tables with a row that alarms: {kind}", "max-statistic", alarms, total, 1 - LEVEL, relation="≤"
                )
            )
            for name, words in (
                ("covered_by_sample", "the interval that ignores sources covers ½"),
                ("any_single", "tables with some single interval off ½"),
            ):
                rows.append(compare.share(f"{words}: {kind}", "single intervals", int(at[name].sum()), total))
    return rows


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve)


if __name__ == "__main__":
    launch.main(SIM)

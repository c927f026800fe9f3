"""How often a table of scores cries wolf: labels drawn at random, by sample and by group, where nothing is memorized.

Scores of a source image's crops are alike. With labels at random by source a stated 95 % must cover ½ as often as it
says, and at most 5 % of whole tables may hold one row that excludes it. With few memorized sources labels are permuted,
which lets exactly 25 of 501 tables alarm; with 30 and more the bootstrap says how often. The same for gains on a
baseline whose scores go with the net's, where the sources called memorized differ from the others in both nets alike:
no gain.
"""

from dataclasses import dataclass

import jax
import numpy as np
import xarray as xr

from dae_theory import compare, detection
from dae_theory.checks import Refusal
from dae_theory.detection.simultaneous import FEW
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits


@dataclass(frozen=True)
class Config:
    """Score tables of noise with random labels, at several numbers of memorized and other sources."""

    memorized: tuple[int, ...] = (11, 35, 100)
    """Memorized sources; below 30 labels are permuted."""
    others: int = 100
    """Other sources."""
    crops: tuple[int, ...] = (1, 4)
    """Samples of each source."""
    alike: float = 0.8
    """Share of a score's variance that is the source's own."""
    common: float = 0.5
    """Share of a source's variance that all scores have in common."""
    kept: float = 0.8
    """Share of a score's variance that the baseline's score of the same sample has in common with it."""
    shift: float = 0.25
    """By how much memorized sources differ, in both nets, for the gains, in standard deviations (0.25: AUROC .57)."""
    rows: int = 20
    """Scores of a table."""
    tables: int = 250
    """Tables of each kind."""
    seed: int = 0
    """Root of all randomness."""


SMOKE = {"memorized": (10,), "crops": (1, 4), "rows": 5, "tables": 10}
LEVEL = 0.95
COVERED = 0.93  # at least, of single intervals; above 95 % they are wider than they need be
PERMUTED = 25 / 501  # of permuted tables, 500 beside the table itself
ALARMS = {"alarm": "tables with a row", "gain_alarm": "tables with a gain on a baseline"}
MEASURED = ("covered", "covered_by_sample", "alarm", "any_single", "gain_covered", "gain_alarm", "gain_any_single")


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.distinct(config, "memorized", "crops")
    limits.at_least(config, memorized=2, others=2, crops=1, rows=1, tables=2)
    for name in ("alike", "common", "kept"):
        if not 0 <= getattr(config, name) <= 1:
            raise Refusal(f"{limits.option(name)} must lie in [0, 1]; got {getattr(config, name)}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Whether each table's first interval covers what is so, taken by source and by sample, and whether rows alarm."""
    shape = (len(config.memorized), len(config.crops), config.tables)
    run.expect(int(np.prod(shape)), 0)
    measured = {name: np.zeros(shape, dtype=bool) for name in MEASURED}
    for place in np.ndindex(shape):
        count, crops = config.memorized[place[0]], config.crops[place[1]]
        key = derive(jax.random.key(config.seed), "table", *(int(index) for index in place))
        scores, groups, labels = _table(config, key, count, crops)
        found = _of_areas(derive(key, "together"), scores[: config.rows], labels, groups)
        blind = detection.areas(scores[:1], labels).interval(0, level=LEVEL)
        found |= {"covered_by_sample": _covers(blind, 0.5)}
        found |= _of_gains(derive(key, "gains"), scores + config.shift * labels, labels, groups)
        for name, value in found.items():
            measured[name][place] = value
        run.advance()
    return xr.Dataset(
        {name: (("memorized", "crops", "table"), values.astype(np.int8)) for name, values in measured.items()},
        coords={"memorized": list(config.memorized), "crops": list(config.crops)},
    )


def _of_areas(key: jax.Array, scores: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict[str, bool]:
    """AUROCs: the first one's interval, all of them one by one, all together."""
    found = detection.areas(scores, labels, groups=groups)
    level = detection.simultaneous_level(key, found, scores, labels, groups=groups, level=LEVEL)
    single = [_covers(found.interval(row, level=LEVEL), 0.5) for row in range(len(scores))]
    together = [_covers(found.interval(row, level=level), 0.5) for row in range(len(scores))]
    return {"covered": single[0], "any_single": not all(single), "alarm": not all(together)}


def _of_gains(key: jax.Array, scores: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict[str, bool]:
    """Gains of the first half of the scores on the second, as `_of_areas`."""
    found, rows = detection.areas(scores, labels, groups=groups), len(scores) // 2
    level = detection.simultaneous_level(key, found, scores, labels, groups=groups, differences=True, level=LEVEL)
    single = [_covers(found.difference(row, row + rows, level=LEVEL), 0.0) for row in range(rows)]
    together = [_covers(found.difference(row, row + rows, level=level), 0.0) for row in range(rows)]
    return {"gain_covered": single[0], "gain_any_single": not all(single), "gain_alarm": not all(together)}


def _covers(interval: detection.Interval, value: float) -> bool:
    return bool(interval.low <= value <= interval.high)


def _table(config: Config, key: jax.Array, memorized: int, crops: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (2 rows, n) of sources with crops in the net and in the baseline, the source of each sample, and labels at
    random by source.
    """
    sources = memorized + config.others
    rng = np.random.default_rng(np.asarray(jax.random.key_data(derive(key, "scores"))))
    groups = np.repeat(np.arange(sources), crops)

    def drawn() -> np.ndarray:
        own = np.sqrt(1 - config.common) * rng.standard_normal((config.rows, sources))
        own = own + np.sqrt(config.common) * rng.standard_normal(sources)
        crop = rng.standard_normal((config.rows, groups.size))
        return np.sqrt(config.alike) * own[:, groups] + np.sqrt(1 - config.alike) * crop

    net = drawn()
    baseline = np.sqrt(config.kept) * net + np.sqrt(1 - config.kept) * drawn()
    return np.concatenate([net, baseline]), groups, (rng.permutation(sources) < memorized)[groups]


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Coverage of single intervals, and tables that alarm, of each kind and of all kinds together."""
    rows = []
    for memorized in data["memorized"].values:
        for crops in data["crops"].values:
            at = data.sel(memorized=memorized, crops=crops)
            total = at.sizes["table"]
            kind = f"{memorized} memorized sources, {crops} {'crop' if crops == 1 else 'crops'} each"
            for name, words in (("covered", "½"), ("gain_covered", "a gain of 0 on a baseline")):
                claim = f"a single 95 % interval covers {words} in at least 93 %: {kind}"
                rows.append(compare.share(claim, "DeLong", int(at[name].sum()), total, COVERED, relation="≥"))
            for name, words in ALARMS.items():
                rows.append(_alarms(f"{words} that alarms: {kind}", name, int(memorized), int(at[name].sum()), total))
            for name, words in (
                ("covered_by_sample", "the interval that ignores sources covers ½"),
                ("any_single", "tables with some single interval off ½"),
                ("gain_any_single", "tables with some single gain off 0"),
            ):
                rows.append(compare.share(f"{words}: {kind}", "single intervals", int(at[name].sum()), total))
    for name, words in ALARMS.items():
        alarms, claim = data[name], f"{words} that alarms: all kinds"
        rows.append(compare.share(claim, "max-statistic", int(alarms.sum()), alarms.size, 1 - LEVEL, relation="≤"))
    return rows


def _alarms(claim: str, name: str, memorized: int, alarms: int, total: int) -> compare.Row:
    """At most 5 %; of permuted labels exactly 25 of 501 where scores are compared, and not gains."""
    if memorized < FEW and name == "alarm":
        return compare.share(claim, "permuted labels", alarms, total, PERMUTED)
    return compare.share(claim, "max-statistic", alarms, total, 1 - LEVEL, relation="≤")


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve)


if __name__ == "__main__":
    launch.main(SIM)

"""From a case to its detection table: layer, noise level and score chosen on one split, reported on the other."""

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import detection
from dae_theory.randomness import derive
from dae_theory.representation import ORIENTATION
from sims.measures.cases import Case, Scored, score

FEWEST = 4  # confirmed samples that make a table


def detect(
    key: Array, case: Case, shares: np.ndarray, fit: np.ndarray | None, *, draws: int, fpr: float, resamples: int
) -> xr.Dataset:
    """The table of a case, and AUROC over layers and levels on either split.

    Duplicated samples that are not reproduced, and others that are, are left out: neither label is theirs. Where fewer
    than `FEWEST` duplicated samples are reproduced, all of them are labelled, and the attribute `enough` is 0.

    Args:
        key: of noise, split and bootstrap.
        case: the net and its samples.
        shares: of chains that return to each sample, from `reproduced`.
        fit: the samples among which layer, level, score and threshold are chosen, (m,); half of either class if None.
        draws: noise draws that a score is averaged over.
        fpr, resamples: of the table.
    """
    labels, kept, facts = _labelled(case, shares)
    scored = score(derive(key, "score"), case, draws)
    labels, x = labels[kept], np.asarray(case.x)[kept]
    fit = detection.stratified_split(derive(key, "split"), labels) if fit is None else fit[kept]
    columns, places = _chosen(scored, kept, labels, fit, case.levels)
    losses = [
        detection.Column(f"{level:g}", row[kept], control=True)
        for level, row in zip(case.levels, scored.losses, strict=True)
    ]
    loss = detection.best_column(losses, labels, fit)
    places |= {"denoising_loss": ("", float(loss.name))}
    table = detection.evaluate(
        derive(key, "table"),
        [*columns, *detection.control_columns(x), replace(loss, name="denoising_loss")],
        labels,
        fit=fit,
        fpr=fpr,
        resamples=resamples,
    )
    best, compared = _best(columns, labels, fit)
    maps = {"map": _map(scored, kept, labels, ~fit), "fit_map": _map(scored, kept, labels, fit)}
    rows = [row.name for row in table.rows]
    name = case.name
    result = xr.Dataset(
        {f"{name}_{field}": (f"{name}_row", values) for field, values in table.arrays().items()}
        | {
            f"{name}_chosen_layer": (f"{name}_row", [places.get(row, ("", np.nan))[0] for row in rows]),
            f"{name}_chosen_level": (f"{name}_row", [places.get(row, ("", np.nan))[1] for row in rows]),
            f"{name}_best_scores": (f"{name}_sample", best.scores[~fit].astype(np.float32)),
            f"{name}_memorized": (f"{name}_sample", labels[~fit].astype(np.int8)),
        }
        | {
            f"{name}_{which}": ((f"{name}_layer", f"{name}_level", "score"), values.astype(np.float32))
            for which, values in maps.items()
        },
        coords={
            f"{name}_row": rows,
            f"{name}_layer": list(scored.layers),
            f"{name}_level": list(case.levels),
            "score": list(ORIENTATION),
        },
    )
    facts |= compared | {"table": str(table), "forward_seconds": scored.seconds}
    return result.assign_attrs({f"{name}_{fact}": value for fact, value in facts.items()})


def _labelled(case: Case, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Which samples count as memorized, which have a label at all, both (m,), and how many of each kind there are."""
    duplicated, confirmed = case.copies > 1, shares > 0.5
    enough = int((duplicated & confirmed).sum()) >= FEWEST
    labels = duplicated & (confirmed | (not enough))
    facts = {"enough": int(enough), "start": case.start}
    for name, part in (("duplicated", duplicated), ("once", case.copies == 1), ("fresh", case.copies == 0)):
        confirmed_name = "confirmed" if name == "duplicated" else f"{name}_confirmed"
        facts |= {name: int(part.sum()), confirmed_name: int((part & confirmed).sum())}
    return labels, labels | (~duplicated & ~confirmed), facts


def _best(
    columns: list[detection.Column], labels: np.ndarray, fit: np.ndarray
) -> tuple[detection.Column, dict[str, Any]]:
    """The best score on the fitting split, and how far the best scale-free one is above the std on the other."""
    best = detection.best_column(columns, labels, fit)
    free = detection.best_column([column for column in columns if column.name != "std"], labels, fit)
    std = next(column for column in columns if column.name == "std")
    gap = detection.delong_difference(*[(c.scores[labels & ~fit], c.scores[~labels & ~fit]) for c in (free, std)])
    return best, {"best": best.name, "scale_free": free.name, "gap": [gap.estimate, gap.low, gap.high]}


def _chosen(
    scored: Scored, kept: np.ndarray, labels: np.ndarray, fit: np.ndarray, levels: tuple[float, ...]
) -> tuple[list[detection.Column], dict[str, tuple[str, float]]]:
    """For every score its best layer and level on the fitting split."""
    columns, places = [], {}
    for number, name in enumerate(ORIENTATION):
        candidates = [
            detection.Column(f"{layer}\n{level}", scored.scores[row, at, number][kept], seconds=scored.seconds)
            for row, layer in enumerate(scored.layers)
            for at, level in enumerate(levels)
        ]
        best = detection.best_column(candidates, labels, fit)
        layer, level = best.name.split("\n")
        columns.append(replace(best, name=name))
        places[name] = (layer, float(level))
    return columns, places


def _map(scored: Scored, kept: np.ndarray, labels: np.ndarray, on: np.ndarray) -> np.ndarray:
    """AUROC of every score at every layer and level on some of the samples, (L, levels, scores); NaN if undefined."""
    scores = scored.scores[..., kept]
    undefined = np.isnan(scores).any(axis=-1)
    values = detection.auroc(np.nan_to_num(scores)[..., labels & on], np.nan_to_num(scores)[..., ~labels & on])
    return np.where(undefined, np.nan, values)

"""Singular values of the denoiser's Jacobian J(x) at training samples, beside those that theory predicts.

few    rank 1, (‖x_i‖² − nλ)/(‖x_i‖² + σ²), where the samples are separable
many   the gains (Λ_j − nλ)/(Λ_j + n_kσ²) of the sample's cluster: those of a mixture's component, or one cluster of all
       images. Centred images have mean zero: no gate is open on all of them, so the theorem is silent there
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dae_theory import compare, theory
from sims import launch
from sims.nets import few_and_many


@dataclass(frozen=True)
class Config(few_and_many.PairConfig):
    """Train nets on few and on many samples and compare the singular values of their Jacobians with theory's."""

    points: int = 100
    """Samples at which the Jacobian of the generalizing nets is taken; the memorizing ones: all of theirs."""


SMOKE = few_and_many.SMOKE | {"points": 10}
resolve = few_and_many.resolve
KEPT = 40  # singular values
RESOLVED = 0.05  # predicted values that are compared


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Mixture, images as they are, images centred."""
    run.expect(6 * config.seeds, 6 * config.seeds * config.training.steps)
    groups = [[few_and_many.of_mixture(config, 2)], few_and_many.of_images(config, 2, (False, True))]
    results, names = [], []
    for pairs in groups:
        for pair, nets in zip(pairs, few_and_many.train_pair(config, run, pairs), strict=True):
            names.append(pair.name)
            results.append([_spectra(config, pair, regime, nets[regime]) for regime in few_and_many.REGIMES])
    fields = {
        name: (("kind", "regime", *axes), np.stack([np.stack([one[name] for one in row]) for row in results]))
        for name, axes in DIMS.items()
    }
    coords = {
        "kind": names,
        "regime": list(few_and_many.REGIMES),
        "seed": np.arange(config.seeds),
        "index": 1 + np.arange(KEPT),
    }
    return xr.Dataset(fields, coords=coords).assign_attrs(width=config.width, noise_std=config.noise_std)


DIMS = {"measured": ("seed", "index"), "spread": ("index",), "predicted": ("index",), "samples": (), "weight_decay": ()}


def _spectra(config: Config, pair: few_and_many.SamplePair, regime: str, nets: Any) -> dict[str, Any]:
    """Mean singular values over samples, for every seed, their spread over samples, and the predicted ones."""
    x, decay = np.asarray(pair.of(regime)), pair.weight_decays[regime]
    levels = {"noise_std": config.noise_std, "weight_decay": decay}
    rows = np.linspace(0, len(x) - 1, min(config.points, len(x))).astype(int)
    if regime == "few":
        predicted = np.asarray(theory.memorizing_gains(x, **levels))[:, None]
        owner = rows
    else:
        ranks = _kept(x, pair.labels, decay, config.width)
        predicted = np.asarray(theory.block_gains(x, pair.labels, ranks, **levels))
        owner = pair.labels[rows]
    values = []
    for encoder in np.asarray(nets.encoder):  # tied: J = W diag(gates) Wᵀ
        open_columns = encoder[None] * (x[rows] @ encoder > 0)[:, None, :]
        values.append(np.linalg.svd(open_columns, compute_uv=False) ** 2)
    measured = _width(np.stack(values))
    return {
        "measured": measured.mean(axis=1),
        "spread": measured.std(axis=(0, 1)),
        "predicted": _width(predicted[owner]).mean(axis=0),
        "samples": float(len(x)),
        "weight_decay": decay,
    }


def _kept(x: np.ndarray, labels: np.ndarray, decay: float, width: int) -> tuple[int, ...]:
    """p_k: every direction with Λ_j > nλ, as far as the width goes."""
    spectrum = theory.sample_spectrum(x, labels)
    alive = np.asarray(spectrum.eigenvalues) > decay / np.asarray(spectrum.proportions)[:, None]
    return tuple(np.minimum(alive.sum(axis=1), width // len(alive)).tolist())


def _width(values: np.ndarray) -> np.ndarray:
    """KEPT entries on the last axis, zeros behind."""
    values = values[..., :KEPT]
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, KEPT - values.shape[-1])])


def judge(data: xr.Dataset) -> list[compare.Row]:
    """First and second singular value of few; gains of many."""
    rows = []
    for name in data["kind"].values:
        few, many = (data.sel(kind=name, regime=regime) for regime in ("few", "many"))
        kept = many["predicted"] > RESOLVED
        ratio = (many["measured"] / many["predicted"]).where(kept).mean("index")
        first = few["measured"].sel(index=1) / few["predicted"].sel(index=1)
        second = few["measured"].sel(index=2)
        rows += [
            compare.mean(
                f"few, {name}: first singular value over predicted",
                "(9)  (‖x‖² − nλ)/(‖x‖² + σ²)",
                first,
                1.0,
                tolerance=0.01,
            ),
            compare.mean(f"few, {name}: second singular value", "(9)  rank 1", second, 0.0, tolerance=0.01, scale=1.0),
            compare.mean(
                f"many, {name}: singular values over predicted, mean over j",
                "(8)  (Λ_j − nλ)/(Λ_j + n_kσ²)",
                ratio,
                1.0,
                tolerance=0.05,
            ),
        ]
    return rows


def describe(data: xr.Dataset) -> str:
    """The first singular values, and how far all predicted ones are off."""
    rows = []
    for name in data["kind"].values:
        for regime in data["regime"].values:
            at = data.sel(kind=name, regime=regime)
            predicted, measured = at["predicted"].values, at["measured"].transpose("seed", "index").values
            found = compare.compare(predicted, measured, scale=1.0)
            used, gap = predicted > RESOLVED, np.abs(np.asarray(found.deviation))
            pairs = [
                cell
                for j in range(2)
                for cell in (f"{predicted[j]:.4f}", f"{float(found.mean[j]):.4f} ± {float(found.sem[j]):.4f}")
            ]
            title = f"{name}, n = {int(at['samples'])}"
            rows.append([title, f"{used.sum()}", *pairs, f"{gap[used].mean():.4f}", f"{gap.max():.4f}"])
    header = ["samples", "rank", "theory s₁", "mean ± SEM", "theory s₂", "mean ± SEM", "mean |gap|", "largest gap"]
    words = (
        f"singular values of J at training samples, p = {data.attrs['width']}, {data.sizes['seed']} seeds;"
        f" rank: predicted values above {RESOLVED:g}; gaps absolute, the largest over all {data.sizes['index']}"
    )
    return "\n".join([launch.wrap(words), launch.table(rows, header)])


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)

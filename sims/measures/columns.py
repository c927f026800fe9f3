"""Columns of trained nets beside the analytic ones: the samples themselves, or principal directions of a cluster."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, data, theory
from dae_theory.directions import unit
from dae_theory.model import Weights
from dae_theory.symmetry import alive, match, merge_parallel, principal_angles
from sims.nets.side_by_side import one

PARALLEL = 0.95  # cosine from which on neurons of trained nets are copies of one another
RESOLVED = 2.0  # a direction counts as kept beyond doubt when its eigenvalue is above so many λ
SHOWN = 8  # columns of a net that are kept as pictures
COSINE, NORM = 0.999, 0.02  # columns are the samples from this cosine on, and up to this relative error of their norm
# axes of what `against_samples` and `against_block` give
SAMPLES_DIMS = {
    "cosine": ("decay", "seed", "sample"),
    "norm_ratio": ("decay", "seed", "sample"),
    "neurons": ("decay", "seed"),
    "unmerged": ("decay", "seed"),
    "surplus": ("decay", "seed"),
    "few_decay": ("decay",),
    "largest_cosine": (),
    "gate_margin": (),
    "few_side": (),
    "analytic_picture": ("sample", "pixel"),
    "learned_picture": ("column", "pixel"),
    "column_cosine": ("column",),
    "column_norm": ("column",),
}
BLOCK_DIMS = {
    "angle": ("seed", "direction"),
    "captured": ("seed", "direction"),
    "gain": ("seed", "direction"),
    "gain_theory": ("direction",),
    "resolved": (),
    "samples": (),
    "weight_decay": (),
    "open_gates": ("seed",),
    "many_side": (),
    "eigen_picture": ("column", "many_pixel"),
    "many_picture": ("column", "many_pixel"),
}


def stored_rows(words: str, cosine: xr.DataArray, norm_ratio: xr.DataArray) -> list[compare.Row]:
    """Whether matched columns are the samples r_i x_i: the worst cosine and the worst norm."""
    worst = abs(norm_ratio - 1).max()
    direction, length = "smallest cosine of a column with its sample", "largest relative error of a column's norm"
    return [
        compare.number(f"{words}: {direction}", "(9)  columns r_i x_i", cosine.min(), COSINE, relation="≥"),
        compare.number(f"{words}: {length}", "(9)  r_i", worst, NORM, relation="≤"),
    ]


def separation(x: Any, noise_std: float) -> dict[str, float]:
    """Largest cosine of two samples, and the worst margin of a foreign gate of (9) in units of σ."""
    margin = theory.memorizing_margins(x, noise_std=noise_std).cross
    return {"largest_cosine": float(data.separability(x, np.arange(len(x))).beta), "gate_margin": float(margin.min())}


def against_samples(nets: Weights, x: Array, weight_decays: Any, noise_std: float) -> dict[str, Any]:
    """Nets (decay, seed) on the samples x against (9), and pictures of the first net's columns."""
    names = ("cosine", "norm_ratio", "neurons", "unmerged", "surplus")
    fields: dict[str, list[Any]] = {name: [] for name in names}
    shape = nets.encoder.shape[:2]
    for index in np.ndindex(*shape):
        net = one(nets, *index)
        merged = merge_parallel(net, PARALLEL)
        reference = theory.memorizing_weights(x, noise_std=noise_std, weight_decay=weight_decays[index[0]])
        found = match(merged.weights, reference)
        for name, value in zip(
            names, (found.cosine, found.norm_ratio, merged.live, np.sum(alive(net)), found.surplus), strict=True
        ):
            fields[name].append(value)
    result = {name: np.asarray(values, float).reshape(*shape, *np.shape(values)[1:]) for name, values in fields.items()}
    return result | {
        "few_decay": np.asarray(weight_decays),
        **separation(x, noise_std),
        "few_side": round(x.shape[1] ** 0.5),
        "analytic_picture": pictures(np.asarray(x).T),
        **_largest(merge_parallel(one(nets, 0, 0), PARALLEL).weights, x, weight_decays[0], noise_std),
    }


def _largest(merged: Weights, x: Array, weight_decay: float, noise_std: float) -> dict[str, np.ndarray]:
    """Pictures of the largest merged columns: those matched to a sample first, in its order, then the others."""
    found = match(merged, theory.memorizing_weights(x, noise_std=noise_std, weight_decay=weight_decay))
    partner = np.asarray(found.assignment)
    others = [column for column in range(merged.width) if column not in partner]
    order = np.concatenate([partner, others])[:SHOWN]
    columns = np.asarray(merged.encoder)[:, order]
    return {
        "learned_picture": pictures(columns),
        "column_cosine": np.max(np.asarray(unit(x)) @ np.asarray(unit(columns.T)).T, axis=0),
        "column_norm": np.linalg.norm(columns, axis=0),
    }


def against_block(encoders: np.ndarray, x: Any, weight_decay: float, noise_std: float) -> dict[str, Any]:
    """Tied nets (seed, d, p) on the samples x against the block solution of one cluster that holds them all."""
    one_cluster, width = np.zeros(len(x), int), encoders.shape[-1]
    spectrum = theory.sample_spectrum(x, one_cluster)
    eigenvalues, directions = np.asarray(spectrum.eigenvalues[0]), np.asarray(spectrum.directions[0])
    kept = max(1, min(int(np.sum(eigenvalues > weight_decay)), width))
    resolved = max(1, min(int(np.sum(eigenvalues > RESOLVED * weight_decay)), width))
    gains = theory.block_gains(x, one_cluster, (kept,), noise_std=noise_std, weight_decay=weight_decay)[0, :kept]
    fields: dict[str, list[Any]] = {name: [] for name in ("angle", "captured", "open_gates")}
    bases, singular, _ = np.linalg.svd(encoders, full_matrices=False)
    for basis, encoder in zip(bases, encoders, strict=True):
        angles = np.asarray(principal_angles(basis[:, :resolved], directions[:, :resolved]))
        counted = np.asarray(alive(Weights(decoder=jnp.asarray(encoder), encoder=jnp.asarray(encoder))))
        fields["angle"].append(np.pad(np.degrees(angles), (0, kept - resolved), constant_values=np.nan))
        fields["captured"].append(np.sum((basis[:, :kept].T @ directions[:, :kept]) ** 2, axis=0))
        fields["open_gates"].append(np.mean(np.asarray(x) @ encoder[:, counted] > 0))
    largest = np.argsort(-np.sum(encoders[0] ** 2, axis=0))[:SHOWN]
    return {name: np.asarray(values, float) for name, values in fields.items()} | {
        "gain": singular[:, :kept] ** 2,
        "gain_theory": np.asarray(gains),
        "resolved": float(resolved),
        "samples": float(len(x)),
        "weight_decay": weight_decay,
        "many_side": round(x.shape[1] ** 0.5),
        "eigen_picture": pictures(directions[:, :SHOWN]),
        "many_picture": pictures(encoders[0][:, largest]),
    }


def pictures(columns: Any) -> np.ndarray:
    """Columns as rows of whole numbers, ±127 at the largest entry: small, and enough to look at."""
    rows = np.asarray(columns).T
    largest = np.abs(rows).max(axis=1, keepdims=True)
    return np.round(127 * rows / np.where(largest > 0, largest, 1)).astype(np.int8)

"""Which of given directions a minimizer uses, and how much: the group lasso over their exact Gram matrix.

For unit directions u_j with Γ (p, p) and B_j = Σ_i ω_i x_i E h_j (p, d), (6) over all decoders v_j is

    E‖x‖² + min_V  tr(VᵀΓV) − 2 tr(VᵀB) + 2λ Σ_j ‖v_j‖,        2‖v‖ = min_{η ≥ 0} ‖v‖²/η + η.

At given lengths η the decoders are V = (Γ + λ diag(1/η))⁻¹B, and what is left is convex and smooth on η ≥ 0: with
a_j = (B − ΓV)_j/λ, which is v_j/η_j where η_j > 0,

    ∂/∂η_j = λ(1 − ‖a_j‖²),     ∂²/∂η_j∂η_k = 2 (a_j·a_k) Q_jk,     Q = Γ − Γ(Γ + λ diag(1/η))⁻¹Γ.

Newton's method on the η_j that are positive or pulled above zero, projected on η ≥ 0, ends with exact zeros. Where
directions answer for each other (p of them in few dimensions) the curvature is all but singular and a step leaves
η ≥ 0 at once in too many of them: it is then damped, as by Levenberg and Marquardt.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg

STEPS = 500  # of Newton's method, at most
CONVERGED = 1e-10  # projected step over ‖η‖ at which it has arrived
DAMPING = (1e-10, 1e-6, 1e-4, 1e-2, 1.0)  # over the mean curvature, added to it: the first with which a step descends
ROUNDING = 1e-13  # of the value: a step that promises less and does not descend is at the end


class _Point(NamedTuple):
    """The value at η without E‖x‖², V, a, √η and the Cholesky factor of √η Γ √η + λ."""

    value: float
    decoder: np.ndarray
    pull: np.ndarray
    root: np.ndarray
    factor: tuple[np.ndarray, bool]


def _at(gram: np.ndarray, overlap: np.ndarray, decay: float, lengths: np.ndarray) -> _Point:
    root = np.sqrt(lengths)
    matrix = root[:, None] * gram * root[None, :]
    matrix[np.diag_indices_from(matrix)] += decay
    factor = scipy.linalg.cho_factor(matrix, lower=True)
    scaled = root[:, None] * overlap
    solved = scipy.linalg.cho_solve(factor, scaled)
    decoder = root[:, None] * solved
    value = float(decay * np.sum(lengths) - np.sum(scaled * solved))
    return _Point(value, decoder, (overlap - gram @ decoder) / decay, root, factor)


def group_lasso(gram: np.ndarray, overlap: np.ndarray, decay: float, lengths: np.ndarray) -> np.ndarray:
    """V of the group lasso, (p, d), from a first guess of ‖v_j‖; unused directions have v_j = 0 exactly.

    Args:
        gram: Γ, (p, p).
        overlap: B, (p, d).
        decay: λ > 0.
        lengths: the first guess η, (p,); all zero is one.
    """
    lengths = np.array(lengths, float)
    point = _at(gram, overlap, decay, lengths)
    for _ in range(STEPS):
        gradient = decay * (1 - np.sum(point.pull**2, axis=1))
        missing = np.linalg.norm(lengths - np.maximum(0, lengths - gradient / decay))
        if missing <= CONVERGED * np.linalg.norm(lengths):
            break
        moved = _step(gram, overlap, decay, lengths, point, gradient)
        if moved is None:  # rounding: nothing along the path is lower
            break
        lengths, point = moved
    return point.decoder


def _step(gram, overlap, decay, lengths, point, gradient) -> tuple[np.ndarray, _Point] | None:
    """The first Newton step that descends, from the least damped on; None where rounding leaves none."""
    free = np.flatnonzero((lengths > 0) | (gradient < 0))
    curvature = _curvature(gram, point, free)
    for damping in DAMPING:
        matrix = curvature.copy()
        matrix[np.diag_indices_from(matrix)] += damping * np.trace(curvature) / len(free) + np.finfo(float).tiny
        direction = np.zeros_like(lengths)
        try:
            direction[free] = -scipy.linalg.solve(matrix, gradient[free], assume_a="pos")
        except scipy.linalg.LinAlgError:  # rounding has made a curvature negative
            continue
        moved = _search(gram, overlap, decay, lengths, point, gradient, direction)
        if moved is not None or -gradient @ direction <= ROUNDING * abs(point.value):
            return moved
    return None


def _curvature(gram: np.ndarray, point: _Point, free: np.ndarray) -> np.ndarray:
    """The second derivative in the free lengths, singular where directions coincide."""
    columns = point.root[:, None] * gram[:, free]
    schur = gram[np.ix_(free, free)] - columns.T @ scipy.linalg.cho_solve(point.factor, columns)
    return 2 * (point.pull[free] @ point.pull[free].T) * schur


def _search(gram, overlap, decay, lengths, point, gradient, direction) -> tuple[np.ndarray, _Point] | None:
    """The first of the projected steps 1, ½, ¼ … that lowers the value as Armijo asks."""
    step = 1.0
    while step > 1e-8:
        moved = np.maximum(0, lengths + step * direction)
        try:
            ended = _at(gram, overlap, decay, moved)
        except scipy.linalg.LinAlgError:  # so long that λ is below the rounding of √η Γ √η
            step /= 2
            continue
        if ended.value < point.value and ended.value <= point.value + 1e-4 * gradient @ (moved - lengths):
            return moved, ended
        step /= 2
    return None

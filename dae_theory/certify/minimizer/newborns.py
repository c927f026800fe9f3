"""The search for directions that pull more than λ: many starts, ascended together.

Where noise is small against the samples, ‖g(u)‖ of [X5] is close to a piecewise linear function whose maxima stand at
its kinks, where u is orthogonal to some samples and opens on others. Starts are therefore drawn by their preactivations
Xu as well as evenly over the span of the samples; some are tilted out of it: a neuron there is a bias made of noise.
"""

import numpy as np
import scipy.optimize

from dae_theory.certify.minimizer.tiles import Data, Pairs, singles

POOL = 16  # directions looked at for every one that is ascended
APART = 0.9  # cosine up to which two directions count as different
MEMORY = 20  # of L-BFGS


def pulls(data: Data, directions: np.ndarray, encoder: np.ndarray, decoder: np.ndarray) -> np.ndarray:
    """g(u) for unit columns u, (d, k), of a net with encoder and decoder columns, (d, p): shape (k, d)."""
    own = _overlap(data, directions)
    return own - Pairs(data, directions, encoder, slope=False).value @ decoder.T


def _overlap(data: Data, directions: np.ndarray) -> np.ndarray:
    return singles(data, directions).first.T @ (data.share[:, None] * data.x)


def search(
    generator: np.random.Generator, data: Data, encoder: np.ndarray, decoder: np.ndarray, starts: int, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions (d, starts) at which ascents of ‖g‖ ended, and ‖g‖ there, strongest first.

    Args:
        generator: of the starts.
        data: samples, noise and decay.
        encoder: of the net whose residual pulls, (d, p).
        decoder: the same.
        starts: how many ascents.
        steps: of L-BFGS, which ascends all of them at once.
    """
    pool = candidates(generator, data, encoder, POOL * starts)
    strength = np.linalg.norm(pulls(data, pool, encoder, decoder), axis=1)
    begin = pool[:, _chosen(pool, strength, encoder, starts)]

    def depth(flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Σ log ‖u‖ − log ‖g(u)‖, which does not see lengths, and its gradient."""
        u = flat.reshape(begin.shape)
        own, pairs = singles(data, u), Pairs(data, u, encoder)
        answers = own.first.T @ (data.share[:, None] * data.x) - pairs.value @ decoder.T
        square, length = np.sum(answers**2, axis=1), np.sum(u**2, axis=0)
        weight = data.share[:, None] * (data.x @ answers.T)
        slope = data.x.T @ (weight * own.gate) + data.noise_std**2 * u * np.sum(weight * own.density, axis=0)
        slope = slope - pairs.slope(answers @ decoder)
        square = np.maximum(square, np.finfo(float).tiny)
        return 0.5 * float(np.sum(np.log(length) - np.log(square))), (u / length - slope / square).ravel()

    ended = scipy.optimize.minimize(
        depth, begin.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": steps, "maxcor": MEMORY, "ftol": 1e-14}
    )
    ends = ended.x.reshape(begin.shape)
    ends = ends / np.linalg.norm(ends, axis=0)
    strength = np.linalg.norm(pulls(data, ends, encoder, decoder), axis=1)
    order = np.argsort(-strength)
    return ends[:, order], strength[order]


def candidates(generator: np.random.Generator, data: Data, encoder: np.ndarray, count: int) -> np.ndarray:
    """Unit directions, (d, count), in random order: by preactivations, evenly over the span, and near neurons."""
    rows = data.x[data.share > 0]
    n = len(rows)
    _, singular, basis = np.linalg.svd(rows, full_matrices=False)
    basis = basis[singular > 1e-6 * max(singular[0], np.finfo(float).tiny)]
    if not len(basis):
        basis = np.eye(data.dimension)[:1]
    inverse = np.linalg.pinv(rows, rcond=1e-6)

    def patterns(count: int) -> np.ndarray:
        opens = generator.random((count, n)) < generator.choice([1 / n, 0.25, 0.5, 0.75], size=(count, 1))
        size = generator.exponential(size=(count, n))
        closed = -size * (generator.random((count, n)) < 0.3)
        return _unit(np.where(opens, size, closed) @ inverse.T, basis)

    half, quarter = count // 2, count // 4
    even = _unit(generator.normal(size=(count - half - quarter, len(basis))) @ basis, basis)
    near = patterns(quarter) * generator.choice([0.1, 0.3, 1.0], size=(quarter, 1))
    if encoder.shape[1]:
        near = near + _unit(encoder.T[generator.integers(encoder.shape[1], size=quarter)], basis)
    inside = np.concatenate([patterns(half), even, _unit(near, basis)])
    across = generator.normal(size=(count, data.dimension))
    across = across - across @ basis.T @ basis
    length = np.linalg.norm(across, axis=1, keepdims=True)
    outside = np.where(length > 1e-6, across / np.where(length > 0, length, 1), 0)  # there may be no complement
    angle = generator.choice([0.0, 0.0, 0.0, 0.3, 0.9, np.pi / 2], size=(count, 1))
    found = _unit(np.cos(angle) * inside + np.sin(angle) * outside, basis)
    return generator.permutation(found).T


def _unit(rows: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Rows at length 1; a row without a direction takes that of the first principal one."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(length > 1e-12, rows / np.where(length > 1e-12, length, 1), basis[:1])


def _chosen(pool: np.ndarray, strength: np.ndarray, encoder: np.ndarray, count: int) -> np.ndarray:
    """Indices of starts: half are the strongest that differ from each other and from every neuron, half any others.

    Beside a neuron the pull is close to λ already: without the first condition most ascents end at neurons.
    """
    order = np.argsort(-strength)
    length = np.linalg.norm(encoder, axis=0)
    units = encoder[:, length > 0] / length[length > 0]
    if units.shape[1]:
        order = order[np.max(units.T @ pool, axis=0)[order] < APART]
    taken: list[int] = []
    for index in order:
        if len(taken) == count // 2:
            break
        if not taken or np.max(pool[:, taken].T @ pool[:, index]) < APART:
            taken.append(int(index))
    others = np.setdiff1d(np.arange(pool.shape[1]), taken)  # in the order in which they were drawn, at random
    return np.concatenate([np.asarray(taken, int), others[: count - len(taken)]])


def distinct(directions: np.ndarray, cosine: float) -> np.ndarray:
    """Indices of columns that are not parallel to an earlier one."""
    taken: list[int] = []
    for index in range(directions.shape[1]):
        if not taken or np.max(directions[:, taken].T @ directions[:, index]) < cosine:
            taken.append(index)
    return np.asarray(taken, int)

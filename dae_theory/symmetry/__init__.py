"""Comparing weights modulo the symmetries of the model f(y) = W₂ [W₁ᵀ y]₊, eq. (5) of arXiv 2512.20963.

The function does not change when neurons are permuted, when (w₁, w₂) becomes (c w₁, w₂/c) with c > 0, or when a neuron
is split into parallel ones; where the gates of a block stay open it does not change under rotations inside the block.
So: `balance`, `merge_parallel`, then `match` for columns; `block_error` and `principal_angles` need no rotation, and
`procrustes` finds the best one. Every function works under jit and vmap.
"""

from dae_theory.symmetry.blocks import (
    BlockMatch,
    Rotation,
    activation_energy,
    block_error,
    principal_angles,
    procrustes,
)
from dae_theory.symmetry.columns import NEGLIGIBLE, Match, Merged, alive, asymmetry, balance, match, merge_parallel

__all__ = [
    "NEGLIGIBLE",
    "BlockMatch",
    "Match",
    "Merged",
    "Rotation",
    "activation_energy",
    "alive",
    "asymmetry",
    "balance",
    "block_error",
    "match",
    "merge_parallel",
    "principal_angles",
    "procrustes",
]

"""Lift a one-member function over many members: groups, chunks, devices, machines, resume.

`run(function, points)` computes `function(point, shared)` for every leading index of the pytree `points`. Members are
cut into chunks that fit a memory budget; a chunk is a call of one compiled program (two, of a function in two stages),
the same for all chunks; inside it members are spread over the devices of a mesh without any communication, and on a
device they run group after group, each group a vmap. A member's numbers depend on its own point only: order
and resuming change no bit of them; another number of devices, or another group (on accelerators that is the chunk,
unless it is given), only the rounding of the program.
"""

from dae_theory.ensemble.lifting import MEMBERS, lift, member_mesh
from dae_theory.ensemble.padding import buckets
from dae_theory.ensemble.running import Options, Prepared, Store, prepare, run
from dae_theory.ensemble.spans import Lost

__all__ = ["MEMBERS", "Lost", "Options", "Prepared", "Store", "buckets", "lift", "member_mesh", "prepare", "run"]

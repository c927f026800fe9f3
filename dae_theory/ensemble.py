"""Lift a one-member function over many members: groups, chunks, devices, machines, resume.

`run(function, points)` computes `function(point, shared)` for every leading index of the pytree `points`. Members are
cut into chunks that fit a memory budget; a chunk is one compiled program, the same for all chunks; inside it members
are spread over the devices of a mesh without any communication, and on a device they run group after group, each group
a vmap. A member's numbers depend on its own point only: chunk size and order change no bit of them, and another number
of devices or another group size only the rounding of the compiled program.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from dae_theory import checks

MEMBERS = "members"


@runtime_checkable
class Store(Protocol):
    """Where finished chunks are kept, so that an interrupted run can go on (`records.ChunkStore` keeps files)."""

    def finished(self) -> dict[tuple[int, int], list[np.ndarray]]:
        """(start, stop) -> leaves of the result for those members."""
        ...

    def save(self, start: int, stop: int, leaves: list[np.ndarray]) -> None:
        """Keep the leaves of the result for members start … stop−1, durably, before returning."""
        ...


def member_mesh(devices: Sequence[Any] | None = None) -> jax.sharding.Mesh:
    """A one-axis mesh over the given devices, by default this process's own."""
    devices = jax.local_devices() if devices is None else list(devices)
    return jax.make_mesh((len(devices),), (MEMBERS,), axis_types=(AxisType.Auto,), devices=devices)


def lift(
    function: Callable[[PyTree, PyTree], PyTree], mesh: jax.sharding.Mesh, group: int | None
) -> Callable[[PyTree, PyTree], PyTree]:
    """`function` over the leading axis of its first argument, sharded over the mesh, jitted.

    On each device members run in groups of `group`; None is one group of them all. CPU caches like small groups,
    accelerators like one.
    """

    def on_device(points: PyTree, shared: PyTree) -> PyTree:
        if group is None:
            return jax.vmap(function, in_axes=(0, None))(points, shared)
        return jax.lax.map(lambda point: function(point, shared), points, batch_size=group)

    return jax.jit(
        jax.shard_map(
            on_device,
            mesh=mesh,
            in_specs=(PartitionSpec(MEMBERS), PartitionSpec()),
            out_specs=PartitionSpec(MEMBERS),
            check_vma=False,  # members never communicate, and scan carries start from replicated zeros
        )
    )


def run(
    function: Callable[[PyTree, PyTree], PyTree],
    points: PyTree,
    shared: PyTree = None,
    *,
    chunk: int | None = None,
    memory_budget: int = 2 * 1024**3,
    group: int | None = None,
    devices: Sequence[Any] | None = None,
    store: Store | None = None,
    progress: Callable[[int], None] | None = None,
) -> PyTree:
    """`function(point, shared)` for every member.

    Args:
        function: one member's point and the shared arrays -> a pytree of arrays. On several CPU devices it should not
            decompose stacks of matrices (svd, eigh, qr): XLA's CPU runtime can then wait for itself forever. Decompose
            beforehand, or pass one device.
        points: pytree of arrays with one leading axis of M members (typed keys allowed).
        shared: pytree of arrays that every member reads (a pool of samples), held once a device.
        chunk: members per program call; by default a tenth of them, for progress and resume.
        memory_budget: bytes that a call may take; a larger chunk is halved until it fits.
        group: members run together on one device; by default 8 on CPU, the whole chunk elsewhere.
        devices: by default all of this process.
        store: keeps finished chunks; chunks it already holds are not run again. Needed with several processes, which
            share the work and meet in the store (a shared file system).
        progress: called with the number of members just finished (those found in the store included).

    Returns:
        The results with a leading axis M, in the order of `points`.

    Raises:
        ValueError: no members, leading axes that differ, or several processes without a store.
    """
    leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, points))
    shared_leaves, shared_structure = jax.tree.flatten(jax.tree.map(jnp.asarray, shared))
    members = _members(leaves)

    def member(point: list[Any], shared: list[Any]) -> PyTree:  # records are rebuilt from arrays, never from shapes
        return function(jax.tree.unflatten(structure, point), jax.tree.unflatten(shared_structure, shared))

    if jax.process_count() > 1 and store is None:
        raise ValueError(f"store must be given when {jax.process_count()} processes share the work; got None")
    mesh = member_mesh(devices)
    if group is None and mesh.devices.flat[0].platform == "cpu":
        group = 8
    quantum = mesh.devices.size * (group or 1)
    chunk = math.ceil(members / 10) if chunk is None else checks.integer("chunk", chunk, 1)
    chunk = math.ceil(chunk / quantum) * quantum
    found = {} if store is None else dict(store.finished())
    report = progress or (lambda count: None)
    report(sum(stop - start for start, stop in found))

    missing = _missing(members, found)
    if missing:
        program, chunk = _fit(member, leaves, shared_leaves, mesh, group, chunk, quantum, memory_budget)
        sharding = NamedSharding(mesh, PartitionSpec(MEMBERS))
        starts = [(low, min(low + chunk, stop)) for start, stop in missing for low in range(start, stop, chunk)]
        for start, stop in starts[jax.process_index() :: jax.process_count()]:
            index = np.minimum(np.arange(start, start + chunk), stop - 1)  # the last chunk repeats its last member
            part = jax.device_put([leaf[index] for leaf in leaves], sharding)
            result = [np.asarray(leaf)[: stop - start] for leaf in jax.tree.leaves(program(part, shared_leaves))]
            found[start, stop] = result
            if store is not None:
                store.save(start, stop, result)
            report(stop - start)
    if jax.process_count() > 1 and store is not None:
        multihost_utils.sync_global_devices("dae_theory.ensemble.run")
        found = dict(store.finished())

    parts = [found[span] for span in sorted(found)]
    results = [jnp.asarray(np.concatenate(pieces)) for pieces in zip(*parts, strict=True)]
    return jax.tree.unflatten(_structure(member, [leaf[0] for leaf in leaves], shared_leaves), results)


def _structure(function: Callable[[list[Any], PyTree], PyTree], point: list[Any], shared: list[Any]) -> Any:
    """Structure of one member's result, without computing it."""
    structures = []

    def leaves(point: list[Any], shared: list[Any]) -> list[Any]:
        flat, structure = jax.tree.flatten(function(point, shared))
        structures.append(structure)
        return flat

    jax.eval_shape(leaves, point, shared)
    return structures[0]


def buckets(sizes: Any, *, ratio: float) -> np.ndarray:
    """Pad sizes to few buckets: each size goes to the largest one within a factor `ratio` above it.

    From the top down: the largest size opens a bucket, which takes all sizes above 1/ratio of it. A member of size s in
    a bucket of size b costs b/s times its own arithmetic (at most `ratio`), and every bucket costs a compilation.

    Args:
        sizes: positive integers, (M,).
        ratio: > 1.

    Returns:
        The bucket of every member, (M,).

    Raises:
        ValueError: sizes that are not positive integers, or a ratio not above 1.
    """
    sizes = np.asarray(sizes)
    if sizes.ndim != 1 or not np.issubdtype(sizes.dtype, np.integer) or np.any(sizes < 1):
        raise ValueError(f"sizes must be positive integers in one axis; got {sizes.dtype} of shape {sizes.shape}")
    if not ratio > 1:
        raise ValueError(f"ratio must be above 1; got {ratio}")
    result = np.zeros_like(sizes)
    while np.any(left := result == 0):
        top = sizes[left].max()
        result[left & (sizes * ratio > top)] = top
    return result


def _members(leaves: list[Any]) -> int:
    lengths = {leaf.shape[0] if leaf.ndim else 0 for leaf in leaves}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"points must have leaves with one common leading axis of members; got lengths {lengths}")
    return lengths.pop()


def _missing(members: int, found: dict[tuple[int, int], Any]) -> list[tuple[int, int]]:
    """Spans of members that no finished chunk covers."""
    spans, low = [], 0
    for start, stop in sorted(found):
        if start < low or stop > members:
            raise ValueError(f"store holds members {start}:{stop}, which does not fit a run of {members} members")
        if start > low:
            spans.append((low, start))
        low = stop
    return [*spans, (low, members)] if low < members else spans


def _abstract(leaf: jax.Array, chunk: int, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((chunk, *leaf.shape[1:]), leaf.dtype, sharding=sharding)


def _fit(function, leaves: list[Any], shared: list[Any], mesh, group, chunk: int, quantum: int, memory_budget: int):
    """Compile for the chunk, halving it until the program's own memory analysis is within the budget."""
    sharding = NamedSharding(mesh, PartitionSpec(MEMBERS))
    while True:
        abstract = [_abstract(leaf, chunk, sharding) for leaf in leaves]
        program = lift(function, mesh, group).lower(abstract, shared).compile()
        analysis = program.memory_analysis()
        needed = 0
        if analysis is not None:
            needed = analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes
        if needed <= memory_budget or chunk <= quantum:
            return program, chunk
        chunk = max(quantum, chunk // 2 // quantum * quantum)

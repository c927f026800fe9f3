"""One member's function as one program for many: groups on a device, devices of a mesh, chunks that fit the memory."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from dae_theory import checks
from dae_theory.checks import Refusal

MEMBERS = "members"
_ON_CPU = {"xla_cpu_prefer_vector_width": 512}  # an eighth faster than XLA's own 256 where a CPU has such vectors


def member_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A one-axis mesh over the given devices, by default this process's own."""
    devices = jax.local_devices() if devices is None else list(devices)
    return jax.make_mesh((len(devices),), (MEMBERS,), axis_types=(AxisType.Auto,), devices=devices)


def lift(
    function: Callable[[PyTree, PyTree], PyTree], mesh: Mesh, group: int | None
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
        ),
        compiler_options=_ON_CPU if mesh.devices.flat[0].platform == "cpu" else None,
    )


@dataclass(frozen=True)
class Form:
    """How plain arrays make a pytree again: its structure, and which leaves are typed keys of what implementation."""

    structure: Any
    keys: tuple[Any, ...]

    def build(self, leaves: Sequence[Any]) -> PyTree:
        """The pytree of these leaves."""
        wrapped = [
            leaf if impl is None else jax.random.wrap_key_data(leaf, impl=impl)
            for leaf, impl in zip(leaves, self.keys, strict=True)
        ]
        return jax.tree.unflatten(self.structure, wrapped)


def flatten(tree: PyTree) -> tuple[list[Any], Form]:
    """The arrays of a pytree, keys as their data, and its form."""
    leaves, structure = jax.tree.flatten(tree)
    leaves = [_array(leaf) for leaf in leaves]
    keys = [jax.random.key_impl(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else None for leaf in leaves]
    data = [leaf if key is None else jax.random.key_data(leaf) for leaf, key in zip(leaves, keys, strict=True)]
    return data, Form(structure, tuple(keys))


def _array(leaf: Any) -> Any:
    """As `jnp.asarray`, which would compile a program for every new shape of a NumPy array."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    if isinstance(leaf, np.ndarray | np.generic):
        return np.asarray(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype))
    return jnp.asarray(leaf)


@dataclass(frozen=True, eq=False)
class Placed:
    """Arrays that every member reads, on the devices of a mesh, and their form."""

    leaves: list[Any]
    form: Form


def _place(shared: PyTree, mesh: Mesh) -> Placed:
    leaves, form = flatten(shared)
    plain = [leaf if getattr(leaf, "weak_type", False) else np.asarray(leaf) for leaf in leaves]
    return Placed(jax.device_put(plain, NamedSharding(mesh, PartitionSpec())), form)


class Lifted:
    """A function lifted over the members of one run: traced at once, compiled when first asked.

    Two runs of one function object over the same shapes, devices and group share a trace and a program. Leaves of the
    points that are only shapes are given with every call, in their order, behind all others.

    Attributes:
        members: M.
        chunk: members a program call takes; compiling may lower it to fit the memory budget.
        memory_budget: bytes that a program call may take.
        structure: of one member's result.
        expected: shapes and dtypes of the leaves of the whole result, members first.
    """

    def __init__(
        self,
        function: Callable[[PyTree, PyTree], PyTree],
        points: PyTree,
        shared: PyTree,
        *,
        devices: Sequence[Any] | None,
        group: int | None,
        chunk: int | None,
        memory_budget: int,
    ):
        self._points = points
        self._options = {"devices": devices, "group": group, "memory_budget": memory_budget}
        self._mesh = member_mesh(devices)
        if group is None and self._mesh.devices.flat[0].platform == "cpu":
            group = 8
        self._quantum = self._mesh.devices.size * (group or 1)
        self.memory_budget = memory_budget
        self._sharding = NamedSharding(self._mesh, PartitionSpec(MEMBERS))
        leaves, form = flatten(points)
        self.members = _members(leaves)
        self._abstract = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
        self._leaves = [np.asarray(leaf) for leaf in leaves if not isinstance(leaf, jax.ShapeDtypeStruct)]
        self._shared = shared if isinstance(shared, Placed) else _place(shared, self._mesh)
        self._lift, structures = _jitted(function, form, self._shared.form, self._mesh, group)
        chunk = math.ceil(self.members / 10) if chunk is None else checks.integer("chunk", chunk, 1)
        self.chunk = math.ceil(chunk / self._quantum) * self._quantum
        self._traced = self._trace()
        self.structure, outputs = structures[-1], self._traced.out_info
        self.expected = [jax.ShapeDtypeStruct((self.members, *leaf.shape[1:]), leaf.dtype) for leaf in outputs]
        self._compiled: Any = None

    def _trace(self) -> Any:
        abstract = [
            jax.ShapeDtypeStruct((self.chunk, *leaf.shape[1:]), leaf.dtype, sharding=self._sharding)
            for leaf in self._abstract
        ]
        return self._lift.trace(abstract, self._shared.leaves)

    def then(self, function: Callable[[PyTree, PyTree], PyTree]) -> "Lifted":
        """The stage behind this one, `function((point, result), shared)`: this one's results are given to its calls."""
        following = _Following(function, self.structure)
        return Lifted(following, (self._points, self.expected), self._shared, chunk=self.chunk, **self._options)

    def at_most(self, chunk: int) -> None:
        """Take no more members a call than another stage does."""
        if self._compiled is None and chunk < self.chunk:
            self.chunk = chunk
            self._traced = self._trace()

    def compile(self) -> None:
        """Compile for the chunk, shrinking it until the program's own memory analysis is within the budget."""
        while self._compiled is None:
            compiled = self._traced.lower().compile()
            needed = _bytes(compiled)
            if needed <= self.memory_budget or self.chunk <= self._quantum:
                self._compiled = compiled
                return
            fitting = min(int(self.chunk * self.memory_budget / needed), self.chunk // 2)
            self.chunk = max(self._quantum, fitting // self._quantum * self._quantum)
            self._traced = self._trace()

    def __call__(self, start: int, stop: int, given: Sequence[np.ndarray] = ()) -> list[np.ndarray]:
        """Leaves of the result for members start … stop−1, at most a chunk of them; `given` are these members' own."""
        self.compile()
        index = np.minimum(np.arange(self.chunk), stop - start - 1)  # the last chunk repeats its last member
        leaves = [leaf[start + index] for leaf in self._leaves] + [leaf[index] for leaf in given]
        part = jax.device_put(leaves, self._sharding)
        return [np.asarray(leaf)[: stop - start] for leaf in self._compiled(part, self._shared.leaves)]


@dataclass(frozen=True)
class _Following:
    """A second stage over the leaves of the first one's result: records are made of arrays, never of shapes."""

    function: Callable[[PyTree, PyTree], PyTree]
    structure: Any

    def __call__(self, given: tuple[PyTree, list[Any]], shared: PyTree) -> PyTree:
        point, leaves = given
        return self.function((point, jax.tree.unflatten(self.structure, leaves)), shared)


@lru_cache(maxsize=16)
def _jitted(function: Callable[[PyTree, PyTree], PyTree], form: Form, shared_form: Form, mesh: Mesh, group: int | None):
    """The lifted program of plain arrays, and the structures of results that its traces saw.

    The same object for the same arguments, so that JAX traces and compiles it once.
    """
    structures: list[Any] = []

    def member(point: list[Any], shared: list[Any]) -> list[Any]:  # records are made of arrays, never of shapes
        leaves, structure = jax.tree.flatten(function(form.build(point), shared_form.build(shared)))
        structures.append(structure)
        return leaves

    return lift(member, mesh, group), structures


def _members(leaves: list[Any]) -> int:
    lengths = {leaf.shape[0] if leaf.ndim else 0 for leaf in leaves}
    if len(lengths) != 1 or 0 in lengths:
        raise Refusal(f"points must have leaves with one common leading axis of members; got lengths {lengths}")
    return lengths.pop()


def _bytes(compiled: Any) -> int:
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0
    return analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes

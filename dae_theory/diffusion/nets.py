"""Noise-conditional denoisers: the paper's ReLU network for all noise levels, and a small deep one.

A `Network` is a record: what the network is (static) and its parameters (leaves). Both kinds take rows y of any
trailing shape and one noise level σ, or one for each row, and give back x̂₀ in the shape of y.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx, struct
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Key, PyTree

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.randomness import derive

Activations = dict[str, Array]


@struct.dataclass
class Edit:
    """A change of hidden activations, h → c ⊙ h + v: silenced or kept at random by c, steered (11) by v.

    Attributes:
        factor: c: (channels,) for all inputs, (n, channels) at all positions, or (1 or n, positions, channels).
        shift: v, likewise.

    >>> import jax.numpy as jnp
    >>> from dae_theory import diffusion
    >>> print(diffusion.Edit(jnp.array([1.0, 0.0]), jnp.array([0.5, 0.0]))(jnp.array([[2.0, 3.0]])))
    [[2.5 0. ]]
    """

    factor: Float[Array, "*n channels"]
    shift: Float[Array, "*m channels"]

    def __call__(self, h: Float[Array, "n *positions channels"]) -> Float[Array, "n *positions channels"]:
        """c ⊙ h + v."""
        factor, shift = (
            part if part.ndim == h.ndim else part.reshape(-1, *(1,) * (h.ndim - 2), h.shape[-1])
            for part in (self.factor, self.shift)
        )
        return factor * h + shift


Edits = Mapping[str, Edit]


@struct.dataclass
class Network:
    """A noise-conditional denoiser.

    Attributes:
        parameters: pytree of arrays, all leaves.
        structure: the flax module without its parameters, static.
        dimension: d, entries of one input, static.
    """

    parameters: PyTree
    structure: Any = struct.field(pytree_node=False)
    dimension: int = struct.field(pytree_node=False)

    def _run(self, y: Array, noise_std: ArrayLike, edits: Edits | None = None) -> tuple[Array, Activations]:
        y = jnp.asarray(y)
        if y.ndim < 2 or math.prod(y.shape[1:]) != self.dimension:
            raise Refusal(f"y must have shape (n, ...) with {self.dimension} entries a row; got {y.shape}")
        checks.positive("noise_std", noise_std)
        levels = jnp.broadcast_to(jnp.asarray(noise_std, y.dtype), (y.shape[0],))
        edits = dict(edits or {})
        denoised, activations = _forward(self, y.reshape(y.shape[0], -1), levels, edits)
        editable = [name for name in activations if name.split(".")[-1] == "hidden"]
        if not set(edits) <= set(editable):
            raise Refusal(f"edits must be of {', '.join(editable)}; got {', '.join(edits)}")
        return denoised.reshape(y.shape), activations

    def denoise(
        self, y: Float[Array, "n *shape"], noise_std: ArrayLike, edits: Edits | None = None
    ) -> Float[Array, "n *shape"]:
        """x̂₀(y, σ), an estimate of E[x | y], for rows y = x + σε; with hidden activations changed where asked.

        Raises:
            ValueError: `y` is not rows of d entries, `noise_std` is not positive, or `edits` are of no hidden layer.
        """
        return self._run(y, noise_std, edits)[0]

    def activations(self, y: Float[Array, "n *shape"], noise_std: ArrayLike, edits: Edits | None = None) -> Activations:
        """Named activations, each (n, ..., channels); an edited layer's own as they were before.

        Raises:
            ValueError: as `denoise`.
        """
        return self._run(y, noise_std, edits)[1]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.parameters))


@jax.jit
def _forward(
    network: Network, rows: Array, levels: Array, edits: dict[str, Edit] | None = None
) -> tuple[Array, Activations]:
    module: Any = nnx.merge(network.structure, network.parameters)
    return module(rows, levels, edits)


def _as_it_is(h: Array) -> Array:
    return h


def _network(key: Array, make: Callable[..., nnx.Module], dimension: int) -> Network:
    structures = []

    @jax.jit
    def parameters(key: Array) -> PyTree:  # one program instead of one for every initial array
        structure, state = nnx.split(make(rngs=nnx.Rngs(key)))
        structures.append(structure)
        return state

    return Network(parameters(key), structures[0], dimension)


def relu_network(key: Key[Array, ""], dimension: int, *, width: int = 256, init_scale: float = 0.1) -> Network:
    """The published noise-conditional ReLU network.

        x̂₀(y, σ) = W ([Wᵀy]₊ ⊙ exp(g(log σ))) + s y

    W (d, p) is tied; g is a 1-p-p perceptron whose last layer starts at zero, so that all gains start at 1; the scalar
    s starts at 0. Activations: `hidden`, [Wᵀy]₊, and `gated`, the same times the gains.

    Args:
        key: of the initial weights.
        dimension: d.
        width: p.
        init_scale: expected norm of an initial column of W.

    Raises:
        ValueError: a bad key or size.
    """
    checks.typed_key("key", key)
    dimension, width = checks.integer("dimension", dimension, 1), checks.integer("width", width, 1)
    checks.positive("init_scale", init_scale)
    make = partial(_ReLUNet, dimension, width, init_scale)
    return _network(derive(key, "relu network"), make, dimension)


class _ReLUNet(nnx.Module):
    def __init__(self, dimension: int, width: int, init_scale: float, rngs: nnx.Rngs):
        columns = jax.random.normal(rngs.params(), (dimension, width), jnp.float32)
        self.weights = nnx.Param(columns * (init_scale / dimension**0.5))
        self.first = nnx.Linear(1, width, rngs=rngs)
        self.last = _linear(width, width, rngs, zero=True)
        self.skip = nnx.Param(jnp.zeros((), jnp.float32))

    def __call__(self, y: Array, noise_std: Array, edits: Edits | None = None) -> tuple[Array, Activations]:
        weights = self.weights[...]
        hidden = jax.nn.relu(y @ weights)
        gains = jnp.exp(self.last(jax.nn.silu(self.first(jnp.log(noise_std)[:, None]))))
        gated = (edits or {}).get("hidden", _as_it_is)(hidden) * gains
        return gated @ weights.T + self.skip[...] * y, {"hidden": hidden, "gated": gated}


def deep_network(
    key: Key[Array, ""],
    shape: tuple[int, ...],
    *,
    patch: int = 4,
    width: int = 96,
    depth: int = 4,
    heads: int = 4,
    data_scale: float = 1.0,
) -> Network:
    """A small diffusion transformer: patches, attention and ReLU perceptrons, all modulated by the noise level.

        x̂₀(y, σ) = c_skip y + c_out F(c_in y, log σ),
        c_skip = s²/(σ² + s²),  c_out = σ s/√(σ² + s²),  c_in = 1/√(σ² + s²)

    with s the scale of the data (the preconditioning of Karras et al. 2022): F sees inputs and targets of size one at
    every noise level. Each block adds attention over the patches, then a perceptron with 4·width hidden neurons, to
    the stream; its layer norms are scaled and shifted, and its branches gated, by the noise level, all gates 0 at the
    start. Activations (n, patches, channels): `embedding`; for block i `block<i>.attention`, `block<i>.hidden` (after
    the ReLU, as h of (5)) and `block<i>.stream`.

    Args:
        key: of the initial weights.
        shape: of one image, (h, w) or (h, w, channels).
        patch: side of a patch; divides h and w.
        width, depth, heads: channels of the stream, number of blocks, attention heads (they divide the width).
        data_scale: s, root mean square of the pixels.

    Raises:
        ValueError: a bad key, or sizes that do not fit.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import diffusion
    >>> network = diffusion.deep_network(jax.random.key(0), (4, 4), patch=2, width=8, depth=1, heads=2, data_scale=0.5)
    >>> y = jnp.ones((3, 4, 4), jnp.float32)
    >>> network.denoise(y, 0.5).shape, sorted(network.activations(y, 0.5))
    ((3, 4, 4), ['block0.attention', 'block0.hidden', 'block0.stream', 'embedding'])
    """
    checks.typed_key("key", key)
    if len(shape) not in (2, 3) or any(side % patch for side in shape[:2]):
        raise Refusal(f"shape must be (h, w) or (h, w, channels) with sides divisible by {patch}; got {shape}")
    checks.positive("data_scale", data_scale)
    for name, value in (("width", width), ("depth", depth), ("heads", heads)):
        checks.integer(name, value, 1)
    if width % (2 * heads):
        raise Refusal(f"width must be a multiple of 2·heads = {2 * heads}; got {width}")
    make = partial(
        _Transformer, (*shape, 1)[:3], patch=patch, width=width, depth=depth, heads=heads, data_scale=data_scale
    )
    return _network(derive(key, "deep network"), make, math.prod(shape))


def _linear(inputs: int, outputs: int, rngs: nnx.Rngs, *, zero: bool = False) -> nnx.Linear:
    if not zero:
        return nnx.Linear(inputs, outputs, rngs=rngs)
    return nnx.Linear(inputs, outputs, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)


def _normalise(stream: Array, scale: Array, shift: Array) -> Array:
    """Layer norm over channels, then (1 + scale) and shift of each row, (n, tokens, w) and (n, w)."""
    centred = stream - jnp.mean(stream, axis=-1, keepdims=True)
    unit = centred * jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + 1e-6)
    return unit * (1 + scale[:, None, :]) + shift[:, None, :]


class _Block(nnx.Module):
    def __init__(self, width: int, heads: int, rngs: nnx.Rngs):
        self.heads = heads
        self.modulation = _linear(width, 6 * width, rngs, zero=True)
        self.query_key_value = _linear(width, 3 * width, rngs)
        self.attended = _linear(width, width, rngs)
        self.into, self.out = _linear(width, 4 * width, rngs), _linear(4 * width, width, rngs)

    def __call__(self, stream: Array, condition: Array, edit: Callable[[Array], Array]) -> tuple[Array, Activations]:
        n, tokens, width = stream.shape
        parts = jnp.split(self.modulation(condition), 6, axis=-1)
        projected = self.query_key_value(_normalise(stream, parts[0], parts[1]))
        query, key, value = jnp.split(projected.reshape(n, tokens, 3 * self.heads, -1), 3, axis=2)
        attention = self.attended(jax.nn.dot_product_attention(query, key, value).reshape(n, tokens, width))
        stream = stream + parts[2][:, None, :] * attention
        hidden = jax.nn.relu(self.into(_normalise(stream, parts[3], parts[4])))
        stream = stream + parts[5][:, None, :] * self.out(edit(hidden))
        return stream, {"attention": attention, "hidden": hidden, "stream": stream}


class _Transformer(nnx.Module):
    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        data_scale: float,
        rngs: nnx.Rngs,
    ):
        self.shape, self.patch, self.data_scale = shape, patch, data_scale
        pixels, tokens = patch * patch * shape[2], (shape[0] // patch) * (shape[1] // patch)
        self.frequencies = width // 2
        self.embed = _linear(pixels, width, rngs)
        self.position = nnx.Param(0.02 * jax.random.normal(rngs.params(), (1, tokens, width), jnp.float32))
        self.level = nnx.List([_linear(width, width, rngs), _linear(width, width, rngs)])
        self.blocks = nnx.List([_Block(width, heads, rngs) for _ in range(depth)])
        self.modulation = _linear(width, 2 * width, rngs, zero=True)
        self.project = _linear(width, pixels, rngs, zero=True)

    def _patches(self, y: Array) -> Array:
        (height, width, channels), side = self.shape, self.patch
        cut = y.reshape(-1, height // side, side, width // side, side, channels)
        return jnp.swapaxes(cut, 2, 3).reshape(y.shape[0], -1, side * side * channels)

    def _joined(self, patches: Array) -> Array:
        (height, width, channels), side = self.shape, self.patch
        cut = patches.reshape(-1, height // side, width // side, side, side, channels)
        return jnp.swapaxes(cut, 2, 3).reshape(patches.shape[0], -1)

    def __call__(self, y: Array, noise_std: Array, edits: Edits | None = None) -> tuple[Array, Activations]:
        total = noise_std**2 + self.data_scale**2
        angles = jnp.log(noise_std)[:, None] * jnp.geomspace(0.25, 8, self.frequencies, dtype=y.dtype)[None, :]
        waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        condition = jax.nn.silu(self.level[1](jax.nn.silu(self.level[0](waves))))

        stream = self.embed(self._patches(y * jax.lax.rsqrt(total)[:, None])) + self.position[...]
        activations = {"embedding": stream}
        for number, block in enumerate(self.blocks):
            stream, inside = block(stream, condition, (edits or {}).get(f"block{number}.hidden", _as_it_is))
            activations |= {f"block{number}.{name}": value for name, value in inside.items()}
        scale, shift = jnp.split(self.modulation(condition), 2, axis=-1)
        residual = self._joined(self.project(_normalise(stream, scale, shift)))
        skip, out = self.data_scale**2 / total, noise_std * self.data_scale * jax.lax.rsqrt(total)
        return skip[:, None] * y + out[:, None] * residual, activations

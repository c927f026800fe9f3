r"""ReLU denoisers of any depth, with or without biases and a skip connection; the net (5) is the shallowest of them.

$$f(y) = s\,y + W_{L+1} h_L, \qquad h_l = c_l \odot [W_l h_{l-1} + b_l]_+, \qquad h_0 = y$$

The factors c_l are 1 but where hidden neurons are silenced (0), or kept at random and rescaled. With L = 1, b = 0 and
s = 0 this is (5), W_1 = encoderᵀ and W_2 = decoder.
"""

import itertools
from collections.abc import Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp
from flax import struct
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Key

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.model import Weights
from dae_theory.randomness import derive


@struct.dataclass
class Layered:
    """A net of L hidden layers of p neurons.

    Attributes:
        matrices: W_l transposed, neurons one a column: (d, p), L − 1 times (p, p), (p, d).
        biases: b_l, L times (p,); zeros where the net has none.
        skip: s, a scalar: 0 without the connection, 1 with it.
    """

    matrices: tuple[Array, ...]
    biases: tuple[Array, ...]
    skip: Float[Array, "*members"]

    @property
    def depth(self) -> int:
        """L, hidden layers."""
        return len(self.biases)

    @property
    def width(self) -> int:
        """p, neurons of a hidden layer."""
        return self.biases[0].shape[-1]


def start(
    key: Key[Array, ""], dimension: int, *, width: int, depth: int, skip: ArrayLike = 0.0, gain: ArrayLike = 1.0
) -> Layered:
    """Initial weights: entries of W_l normal with variance gain² 2/(inputs), biases 0.

    Args:
        key: of the weights.
        dimension: d.
        width: p of every hidden layer.
        depth: L ≥ 1.
        skip: s.
        gain: 1 keeps the size of activations from layer to layer (He et al. 2015); smaller ones learn features.

    Raises:
        ValueError: a bad key, size or gain.

    >>> import jax
    >>> from dae_theory import layered
    >>> net = layered.start(jax.random.key(0), 4, width=8, depth=2)
    >>> [matrix.shape for matrix in net.matrices], net.depth
    ([(4, 8), (8, 8), (8, 4)], 2)
    """
    checks.typed_key("key", key)
    sizes = [checks.integer("dimension", dimension, 1)]
    sizes += [checks.integer("width", width, 1)] * checks.integer("depth", depth, 1) + sizes
    checks.positive("gain", gain)
    matrices = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        drawn = jax.random.normal(derive(key, "layer", number), (inputs, outputs), jnp.float32)
        matrices.append(drawn * jnp.asarray(gain, jnp.float32) * (2 / inputs) ** 0.5)
    return Layered(tuple(matrices), (jnp.zeros(width, jnp.float32),) * depth, jnp.asarray(skip, jnp.float32))


def forward(
    net: Layered, y: Float[Array, "m d"], factors: Mapping[int, Float[Array, "m p"]] | None = None
) -> tuple[Float[Array, "m d"], tuple[Float[Array, "m p"], ...]]:
    """f(y) and the activations [W_l h_(l−1) + b_l]₊ of every hidden layer, before their factors.

    Args:
        net: the net.
        y: inputs, (m, d).
        factors: c_l of every input for some of the layers, l from 0 to L − 1; 1 for the others.

    Raises:
        ValueError: `factors` names a layer that is none.

    >>> import jax.numpy as jnp
    >>> from dae_theory import layered, model
    >>> net = layered.of_weights(model.Weights(jnp.eye(2), jnp.eye(2)))
    >>> f, hidden = layered.forward(net, jnp.array([[3.0, 4.0]]), {0: jnp.array([[1.0, 0.0]])})
    >>> print(f, hidden[0])
    [[3. 0.]] [[3. 4.]]
    """
    factors = factors or {}
    if any(layer not in range(net.depth) for layer in factors):
        raise Refusal(f"factors must be of hidden layers 0 to {net.depth - 1}; got {list(factors)}")
    h, hidden = y, []
    for layer, (matrix, bias) in enumerate(zip(net.matrices[:-1], net.biases, strict=True)):
        h = jax.nn.relu(h @ matrix + bias[None])
        hidden.append(h)
        h = h * factors[layer] if layer in factors else h
    return net.skip * y + h @ net.matrices[-1], tuple(hidden)


def of_weights(weights: Weights) -> Layered:
    """The net (5) as one of a single hidden layer.

    >>> import jax.numpy as jnp
    >>> from dae_theory import layered, model
    >>> layered.of_weights(model.Weights(jnp.eye(2), jnp.eye(2))).depth
    1
    """
    zero = jnp.zeros(weights.width, weights.encoder.dtype)
    return Layered((weights.encoder, weights.decoder.T), (zero,), jnp.zeros((), zero.dtype))


def around(net: Layered, layer: int) -> Weights:
    """What goes into and out of the neurons of one hidden layer, one a column, for `symmetry.merge_parallel`.

    The bias is the last row of the encoder, as in [X15]. Neurons of the layer whose pairs are parallel are copies:
    (w, b, v) → (c w, c b, v/c) changes nothing, and parallel ones act as one. The shorter of both matrices is padded
    with rows of zeros.

    Raises:
        ValueError: `layer` is no hidden one.

    >>> import jax
    >>> from dae_theory import layered
    >>> layered.around(layered.start(jax.random.key(0), 4, width=8, depth=1), 0).encoder.shape
    (5, 8)
    """
    if layer not in range(net.depth):
        raise Refusal(f"layer must be from 0 to {net.depth - 1}; got {layer}")
    encoder = jnp.concatenate([net.matrices[layer], net.biases[layer][None]])
    decoder = net.matrices[layer + 1].T
    rows = max(len(encoder), len(decoder))
    return Weights(*(jnp.pad(part, ((0, rows - len(part)), (0, 0))) for part in (decoder, encoder)))


def replaced(net: Layered, layer: int, weights: Weights) -> Layered:
    """The net with a layer of neurons put back that `around` took out and `merge_parallel` merged.

    >>> import jax
    >>> from dae_theory import layered
    >>> net = layered.start(jax.random.key(0), 4, width=8, depth=2)
    >>> same = layered.replaced(net, 1, layered.around(net, 1))
    >>> bool((same.matrices[1] == net.matrices[1]).all())
    True
    """
    matrices, biases = list(net.matrices), list(net.biases)
    rows, columns = len(matrices[layer]), matrices[layer + 1].shape[1]
    matrices[layer], biases[layer] = weights.encoder[:rows], weights.encoder[rows]
    matrices[layer + 1] = weights.decoder[:columns].T
    return replace(net, matrices=tuple(matrices), biases=tuple(biases))

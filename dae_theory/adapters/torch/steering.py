"""Steering (11) of any torch module: mean activations of a target set as directions, and outputs against the strength.

respond = steered(net, mean_directions(net, ["mid"], targets), y)
response_curve(respond, target, strengths, compiled=False)      # dae_theory.steering
"""

# Where PyTorch is not installed, pyright takes this package for it.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from dae_theory import checks
from dae_theory.adapters.torch import hooks, passes
from dae_theory.checks import Refusal
from dae_theory.detection import streaming

Run = Callable[[torch.nn.Module, torch.Tensor], Any]


def mean_directions(
    model: torch.nn.Module,
    names: Sequence[str],
    images: Any,
    *,
    per: str = "channel",
    channel_axis: int = 1,
    run: Run | None = None,
    batch_size: int = 16,
) -> dict[str, torch.Tensor]:
    """v of (11) for every named module, the mean of what it returns over a target set, as `add` takes it.

    The model is left bit-identical.

    Args:
        model: any module.
        names: modules, each called once in a pass.
        images: the target set, an array, a tensor, or anything with a length and an index; noised ones for the
            representation under noise.
        per: "channel": one number a channel, (channels,), the mean over positions too; "map": one a unit, in the shape
            of one sample's activation.
        channel_axis: of the channels in activations (batch, ...): 1 after convolutions, −1 in transformers.
        run: (model, batch) -> output, where the model's own call is another.
        batch_size: images at once.

    Raises:
        ValueError: as `capture`; `per` is neither, `images` are empty, `channel_axis` is no axis, or a module was
            called several times in one pass.

    >>> import torch
    >>> from dae_theory.adapters.torch import mean_directions
    >>> net = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Identity())
    >>> images = torch.arange(8.0).reshape(2, 1, 2, 2)
    >>> mean_directions(net, ["0"], images)["0"], mean_directions(net, ["0"], images, per="map")["0"].tolist()
    (tensor([3.5000]), [[[2.0, 3.0], [4.0, 5.0]]])
    """
    if per not in ("channel", "map"):
        raise Refusal(f"per must be 'channel' or 'map'; got {per!r}")
    checks.integer("batch_size", batch_size, 1)
    if len(images) == 0:
        raise Refusal("images must hold at least one image; got none")
    sums: dict[str, torch.Tensor] = {}
    with passes.unchanged(model), hooks.reading(model, names, lambda h: h.detach().double().sum(0).cpu()) as captured:
        place = passes.place_of(model)
        for _, batch in streaming.batches(images, batch_size):
            _output(model, run, torch.from_numpy(batch).to(**place))
            for name, calls in captured.items():
                if len(calls) != 1:
                    raise Refusal(
                        f"names must be modules called once in a pass; {name!r} was called {len(calls)} times"
                    )
                sums[name] = sums[name] + calls[0] if name in sums else calls[0]
                calls.clear()
    means = {name: total / len(images) for name, total in sums.items()}
    return {name: (_channels(v, channel_axis) if per == "channel" else v).float() for name, v in means.items()}


def _channels(v: torch.Tensor, channel_axis: int) -> torch.Tensor:
    """The mean over positions of one sample's activation, (channels,)."""
    axes = v.ndim + 1
    if channel_axis % axes == 0 or not -axes <= channel_axis < axes:
        raise Refusal(f"channel_axis must be an axis of activations behind the batch's; got {channel_axis}")
    positions = [axis for axis in range(v.ndim) if axis != channel_axis % axes - 1]
    return v.mean(positions) if positions else v


def steered(
    model: torch.nn.Module,
    directions: Mapping[str, Any],
    y: Any,
    *,
    channel_axis: int = 1,
    run: Run | None = None,
) -> Callable[[float], torch.Tensor]:
    """From a strength a to the outputs for y while a·v is added, on the CPU: what `steering.response_curve` takes.

    Args:
        model, directions, channel_axis: as `add`.
        y: inputs of all outputs, (m, ...), the same at every strength.
        run: (model, y) -> output, where the model's own call is another, or where it is applied repeatedly: v is added
            in each of its passes.

    Raises:
        ValueError: when it is called, as `add`.

    >>> import numpy as np
    >>> import torch
    >>> from dae_theory import steering
    >>> from dae_theory.adapters.torch import steered
    >>> net, y = torch.nn.Sequential(torch.nn.Identity()), torch.zeros(1, 2)
    >>> respond = steered(net, {"0": torch.tensor([0.0, 1.0])}, y)
    >>> curve = steering.response_curve(respond, np.array([0.0, 3.0]), [0.0, 1.0, 2.0], compiled=False)
    >>> print(curve.moved, curve.largest_step)
    [[0. 1. 2.]] [0.5]
    """

    def respond(strength: float) -> torch.Tensor:
        with passes.unchanged(model), hooks.add(model, directions, strength, channel_axis=channel_axis):
            return _output(model, run, torch.as_tensor(y).to(**passes.place_of(model))).detach().cpu()

    return respond


def _output(model: torch.nn.Module, run: Run | None, y: torch.Tensor) -> torch.Tensor:
    return hooks.first_tensor("model", model(y) if run is None else run(model, y))

"""Activations of any `torch.nn.Module`, captured and steered by forward hooks (extra `torch`).

Both context managers remove their hooks whatever happens inside, and touch neither parameters, buffers, device, dtype
nor torch's random state: afterwards the model is the model it was. Hooks run in the order in which they were opened:
`capture` opened inside `add` sees the steered activations of a module that both name, `capture` opened around `add` the
plain ones; modules behind a steered one see what it returned either way.
"""

# Where PyTorch is not installed, pyright takes this package for it.
# pyright: reportAttributeAccessIssue=false

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from dae_theory import checks
from dae_theory.checks import Refusal

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("dae_theory.adapters.torch needs PyTorch: pip install 'dae_theory[torch]'") from error


def module_names(model: torch.nn.Module) -> list[str]:
    """Names of all submodules of a model, as `capture` and `add` take them; of a shared one its first name.

    >>> import torch
    >>> from dae_theory.adapters.torch import module_names
    >>> module_names(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()))
    ['0', '1']
    """
    return [name for name, _ in model.named_modules() if name]


def _modules(model: torch.nn.Module, names: Sequence[str]) -> dict[str, torch.nn.Module]:
    if isinstance(names, str) or not isinstance(names, Iterable) or not list(names):
        raise Refusal(f"names must be a non-empty sequence of module names; got {names!r}")
    if isinstance(model, torch.jit.ScriptModule):
        raise Refusal(
            f"model must not be traced or scripted, since its submodules run no hooks; got {type(model).__name__}"
        )
    names, modules = list(names), dict(model.named_modules(remove_duplicate=False))
    found: dict[str, torch.nn.Module] = {}
    for name in names:
        if name == "":
            raise Refusal("names must be submodules of the model; got '', the model itself, which returns its output")
        if name not in modules:
            near = difflib.get_close_matches(str(name), list(modules), n=5, cutoff=0.4)
            raise Refusal(f"names must be submodules of the model; got {name!r}, nearest are {near}")
        for other, module in found.items():
            if module is modules[name]:
                raise Refusal(f"names must not repeat a module; got {other!r} and {name!r}, which are one")
        found[name] = modules[name]
    return found


def first_tensor(name: str, output: Any) -> torch.Tensor:
    """The activation in a module's output: itself, or the first tensor of a tuple, list or mapping, also nested."""
    if isinstance(output, torch.Tensor):
        return output
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, (tuple, list)) else ()
    for part in parts:
        try:
            return first_tensor(name, part)
        except ValueError:
            continue
    raise Refusal(f"names must be modules that return a tensor; {name!r} returned {type(output).__name__}")


def _replace_first(output: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> tuple[Any, bool]:
    """The same structure with its first tensor changed, and whether there was one."""
    if isinstance(output, torch.Tensor):
        return change(output), True
    if isinstance(output, (tuple, list)):
        for index, part in enumerate(output):
            changed, found = _replace_first(part, change)
            if found:
                parts = [*output[:index], changed, *output[index + 1 :]]
                return (type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)), True
    if isinstance(output, Mapping):
        for key, part in output.items():
            changed, found = _replace_first(part, change)
            if found:
                return type(output)(**{**output, key: changed}), True
    return output, False


def _to_cpu(activation: torch.Tensor) -> torch.Tensor:
    return activation.detach().to("cpu", copy=True)


def _refuse_moving(model: torch.nn.Module) -> None:
    """Refuse a model whose forward pass would change it: normalization that gathers statistics."""
    for name, module in model.named_modules():
        if module.training and getattr(module, "track_running_stats", False):
            raise Refusal(
                f"model must be in evaluation mode, as `evaluating` puts it: {name!r}, {type(module).__name__}, would "
                "move its running statistics"
            )


@contextmanager
def capture(
    model: torch.nn.Module, names: Sequence[str], reduce: Callable[[torch.Tensor], Any] = _to_cpu
) -> Iterator[dict[str, list[Any]]]:
    """Capture what named modules return while the context is open.

    with evaluating(model), capture(model, ["mid_block"]) as captured:
        model(x)
    captured["mid_block"]  # one entry a call of the module

    Every activation is reduced as soon as its module returns, so that full activations are held for one layer at a time
    when `reduce` pools or scores them. Of a tuple, list or mapping the first tensor is taken.

    Args:
        model: Any module.
        names: Names of submodules, as in `module_names`. A module that is shared, called several times in one pass,
            gives an entry for each of its calls, in order, under whichever of its names is asked for.
        reduce: From the activation, without gradient, to what is kept; a copy on the CPU by default. It is given a
            copy, so that what it keeps is not overwritten by an in-place ReLU behind the module.

    Raises:
        ValueError: `names` is empty, repeats a module, or names no submodule (near matches are listed); `model` is
            traced or scripted, or would move the statistics of its normalization (see `evaluating`); in the forward
            pass, when a module returns no tensor; at the end, when one of `names` was never called (a compiled model
            calls none).
    """
    _refuse_moving(model)

    def copied(activation: torch.Tensor) -> Any:
        return reduce(activation if reduce is _to_cpu else activation.clone())

    with reading(model, names, copied) as captured:
        yield captured


@contextmanager
def reading(
    model: torch.nn.Module, names: Sequence[str], reduce: Callable[[torch.Tensor], Any]
) -> Iterator[dict[str, list[Any]]]:
    """As `capture`, for a `reduce` that keeps nothing of the activation it is given: no copy is made."""
    modules = _modules(model, names)
    captured: dict[str, list[Any]] = {name: [] for name in modules}
    called: set[str] = set()

    def hook_for(name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            called.add(name)
            with torch.no_grad():
                captured[name].append(reduce(first_tensor(name, output).detach()))

        return hook

    with ExitStack() as stack:
        for name, module in modules.items():
            stack.callback(module.register_forward_hook(hook_for(name)).remove)
        yield captured
    silent = [name for name in modules if name not in called]
    if silent:
        raise Refusal(f"names must be modules that the forward pass calls; {silent} were not called")


def _fitted(v: torch.Tensor, name: str, activation: torch.Tensor, channel_axis: int) -> torch.Tensor:
    """A direction as it is added to the activation (batch, ...)."""
    if not -activation.ndim <= channel_axis < activation.ndim:
        raise Refusal(
            f"channel_axis must be an axis of the activation {tuple(activation.shape)} of {name!r}; got {channel_axis}"
        )
    v = v.to(device=activation.device, dtype=activation.dtype)
    if v.ndim == 1 and v.shape[0] == activation.shape[channel_axis]:
        shape = [1] * activation.ndim
        shape[channel_axis] = v.shape[0]
        return v.reshape(shape)
    sample = (1, *activation.shape[1:])
    whole = v if v.ndim == activation.ndim else v[None]
    sizes = zip(whole.shape, sample, strict=False)
    if whole.ndim == activation.ndim and v.ndim > 1 and all(have in (1, want) for have, want in sizes):
        return whole
    raise Refusal(
        f"directions must be (channels,) on axis {channel_axis}, or of the shape of one sample's activation "
        f"{sample[1:]} or of one that broadcasts to it, with or without a batch axis of length 1; got "
        f"{tuple(v.shape)} for {name!r}"
    )


@contextmanager
def add(
    model: torch.nn.Module, directions: Mapping[str, Any], strength: float = 1.0, *, channel_axis: int = 1
) -> Iterator[None]:
    """Add a·v to what named modules return while the context is open: steering (11) inside a network.

    Args:
        model: Any module.
        directions: v for each name: a vector (channels,), added at every position, or an array of the shape of one
            sample's activation, or (C, 1, 1) and the like, which broadcast to it; a leading axis of length 1 may stand
            for the batch. Of a tuple, list or mapping the first tensor is steered, the rest passed on.
        strength: a.
        channel_axis: Where a vector goes in the activation (batch, ...): 1 after convolutions, −1 in transformers.

    Raises:
        ValueError: As `capture` for the names of `directions`; a direction or `strength` is not of finite numbers; in
            the forward pass, when v or `channel_axis` does not fit the activation.
    """
    if not isinstance(directions, Mapping):
        raise Refusal(f"directions must map names of modules to directions; got {type(directions).__name__}")
    if isinstance(strength, (str, bytes)) or np.ndim(strength) != 0:
        raise Refusal(f"strength must be one number; got {strength!r}")
    checks.finite("strength", strength)
    checks.integer("channel_axis", channel_axis, -64)

    def hook_for(name: str, direction: torch.Tensor) -> Callable[..., Any]:
        def change(activation: torch.Tensor) -> torch.Tensor:
            return activation + float(strength) * _fitted(direction, name, activation, channel_axis)

        def hook(module: Any, inputs: Any, output: Any) -> Any:
            steered, found = _replace_first(output, change)
            if not found:
                raise Refusal(f"directions must name modules that return a tensor; {name!r} returned none")
            return steered

        return hook

    with ExitStack() as stack:
        for name, module in _modules(model, list(directions)).items():
            v = directions[name]  # NumPy's and JAX's may be read-only, which torch would warn of
            v = v.detach() if isinstance(v, torch.Tensor) else torch.as_tensor(np.array(v))
            if not bool(torch.isfinite(v).all()):
                raise Refusal(f"directions must be finite; got NaN or infinity for {name!r}")
            stack.callback(module.register_forward_hook(hook_for(name, v)).remove)
        yield


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside; every module's own training flag is put back afterwards."""
    training = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, flag in training.items():
            module.training = flag

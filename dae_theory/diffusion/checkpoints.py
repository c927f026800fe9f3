"""Training states on disk, by orbax (extra `diffusion`)."""

from pathlib import Path
from typing import Any
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np

from dae_theory.checks import Refusal
from dae_theory.diffusion.training import State


class Checkpoints:
    """A folder with the newest states of one run, each complete or absent.

    Args:
        folder: is made where it does not exist.
        keep: how many states stay.

    Raises:
        ImportError: orbax-checkpoint is not installed.
    """

    def __init__(self, folder: str | Path, *, keep: int = 2):
        try:
            import orbax.checkpoint as orbax
        except ImportError as error:
            raise ImportError("checkpoints need orbax-checkpoint: pip install 'dae_theory[diffusion]'") from error
        self._arguments = orbax.args
        options = orbax.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False)
        self._manager = orbax.CheckpointManager(
            Path(folder).absolute(), options=options, item_handlers=orbax.StandardCheckpointHandler()
        )

    def latest(self, like: State) -> State | None:
        """The newest state saved, in the structure, shapes and dtypes of `like`; None where there is none.

        Raises:
            ValueError: what is there has another structure or other shapes.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        found: Any = self._manager.restore(step, args=self._arguments.StandardRestore())
        leaves, structure = jax.tree.flatten(like)
        if int(found["layout"]) != _layout(leaves):
            raise Refusal(f"like must have the shapes of the run in {self._manager.directory}; it has others")
        return jax.tree.unflatten(structure, _unpacked(found, leaves))

    def save(self, state: State) -> None:
        """Keep the state under the number of its steps."""
        self._manager.save(int(state.step), args=self._arguments.StandardSave(_packed(jax.tree.leaves(state))))
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Free what orbax holds."""
        self._manager.close()


def _layout(leaves: list[Any]) -> int:
    return crc32(repr([(leaf.shape, str(leaf.dtype)) for leaf in leaves]).encode())


def _packed(leaves: list[Any]) -> dict[str, Any]:
    """One vector a dtype, since orbax takes its time for every array."""
    packed: dict[str, Any] = {"layout": np.asarray(_layout(leaves), np.int64)}
    for dtype in sorted({str(leaf.dtype) for leaf in leaves}):
        packed[dtype] = np.concatenate([np.ravel(leaf) for leaf in leaves if str(leaf.dtype) == dtype])
    return packed


def _unpacked(packed: dict[str, Any], leaves: list[Any]) -> list[Any]:
    start, result = dict.fromkeys(packed, 0), []
    for leaf in leaves:
        name = str(leaf.dtype)
        part = np.asarray(packed[name][start[name] : start[name] + leaf.size])
        result.append(jnp.asarray(part.reshape(leaf.shape)))
        start[name] += leaf.size
    return result

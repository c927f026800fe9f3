"""Finished chunks of an ensemble on disk, one `.npz` a chunk, named by the members it holds and checked when read.

    FOLDER/00000000-00000064.npz    arr_0, arr_1, …   leaves of the result, members first
                                    about             JSON: start, stop, seconds, sha256

A chunk that cannot be trusted (truncated, empty, no archive, altered, of an older layout) is set aside as
NAME.npz.spoiled with a warning that names it, and its members are computed again. A folder that can only be guessed at
(spans that overlap, run backwards or leave the run, results of another shape, foreign archives) is refused.
"""

import hashlib
import itertools
import json
import os
import re
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dae_theory.checks import Refusal
from dae_theory.files import write_atomically

_NAME = re.compile(r"(\d{8,})-(\d{8,})\.npz")
_REMEDY = "move it away, or clear the folder to compute everything again"


class SpoiledChunk(UserWarning):
    """A chunk on disk cannot be trusted; it was set aside, and its members are computed again."""


class ChunkStore:
    """Finished chunks in one folder; saving is atomic, so a killed run leaves whole chunks only."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def spans(self) -> list[tuple[int, int]]:
        """(start, stop) of every chunk on disk, in order, by name alone.

        Raises:
            ValueError: an archive that is no chunk, or spans that overlap or run backwards; names the files.
        """
        found: list[tuple[int, int]] = []
        for path in sorted(self.folder.glob("*.npz")):
            name = _NAME.fullmatch(path.name)
            if name is None:
                raise Refusal(f"store must hold chunks named START-STOP.npz only; got {path}: {_REMEDY}")
            span = int(name[1]), int(name[2])
            if span[0] >= span[1]:
                raise Refusal(f"store must hold chunks that run forwards; got {path}: {_REMEDY}")
            found.append(span)
        found.sort()
        for (start, stop), (later, end) in itertools.pairwise(found):
            if later < stop:
                both = f"{self._path(start, stop)} and {self._path(later, end).name}"
                raise Refusal(f"store must hold every member once; {both} overlap: {_REMEDY}")
        return found

    def finished(self, expected: Sequence[Any]) -> dict[tuple[int, int], list[np.ndarray]]:
        """(start, stop) -> leaves, for every chunk that can be trusted; the others are set aside, with a warning.

        Args:
            expected: the leaves of the whole result, or anything with their `shape` (M, ...) and `dtype`.

        Raises:
            ValueError: the folder holds members or results of another run; names the file.
        """
        found = {}
        for start, stop in self.spans():
            path = self._path(start, stop)
            try:
                leaves = _load(path)[0]
            except _Untrusted as error:
                aside = _set_aside(path)
                warnings.warn(
                    f"{path} {error}; it is kept as {aside.name}, and members {start}:{stop} are computed again",
                    SpoiledChunk,
                    stacklevel=2,
                )
                continue
            wanted = [((stop - start, *leaf.shape[1:]), np.dtype(leaf.dtype)) for leaf in expected]
            got = [(leaf.shape, leaf.dtype) for leaf in leaves]
            if got != wanted or stop > expected[0].shape[0]:
                raise Refusal(
                    f"store must hold chunks of this run, {expected[0].shape[0]} members with {_show(wanted)}; "
                    f"{path} holds {_show(got)}: {_REMEDY}"
                )
            found[start, stop] = leaves
        return found

    def save(self, start: int, stop: int, leaves: Sequence[np.ndarray], seconds: float = 0.0) -> None:
        """Write one chunk, and how long it took."""
        leaves = [np.asarray(leaf) for leaf in leaves]
        about = json.dumps({"start": start, "stop": stop, "seconds": seconds, "sha256": _checksum(leaves)})

        def write(path: Path) -> None:
            with open(path, "wb") as file:
                np.savez(file, *leaves, about=np.frombuffer(about.encode(), np.uint8))

        write_atomically(self._path(start, stop), write)

    def seconds(self) -> float:
        """What the chunks on disk took together, as told to `save`; a chunk that cannot be read counts as 0."""
        total = 0.0
        for start, stop in self.spans():
            try:
                total += _load(self._path(start, stop))[1]
            except _Untrusted:
                continue
        return total

    def _path(self, start: int, stop: int) -> Path:
        return self.folder / f"{start:08d}-{stop:08d}.npz"


class _Untrusted(Exception):
    pass


def _load(path: Path) -> tuple[list[np.ndarray], float]:
    """Leaves and seconds of one chunk."""
    if not zipfile.is_zipfile(path):  # np.load would take it for a pickle
        raise _Untrusted("is truncated or no archive")
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(bytes(file["about"]))
            leaves = [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
        span = path.name == f"{about['start']:08d}-{about['stop']:08d}.npz"
        seconds, checksum = float(about["seconds"]), about["sha256"]
    except PermissionError:
        raise
    except Exception as error:  # whatever zip, zlib, JSON and NumPy raise at bytes that are not theirs
        raise _Untrusted(f"cannot be read ({error})") from error
    if not span:
        raise _Untrusted(f"holds members {about['start']}:{about['stop']}, not those of its name")
    if checksum != _checksum(leaves):
        raise _Untrusted("was altered: its checksum differs")
    return leaves, seconds


def _checksum(leaves: Sequence[np.ndarray]) -> str:
    """SHA-256 over the dtype, the shape and the bytes of every leaf in turn."""
    whole = hashlib.sha256()
    for leaf in leaves:
        whole.update(f"{leaf.dtype.str}{leaf.shape};".encode())
        whole.update(np.ascontiguousarray(leaf).view(np.uint8).data if leaf.size else b"")
    return whole.hexdigest()


def _set_aside(path: Path) -> Path:
    number, aside = 1, path.with_name(f"{path.name}.spoiled")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.spoiled.{number}")
    os.replace(path, aside)
    return aside


def _show(leaves: Sequence[tuple[tuple[int, ...], np.dtype]]) -> str:
    return ", ".join(f"{dtype}{list(shape)}" for shape, dtype in leaves) or "nothing"

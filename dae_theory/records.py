"""One result = arrays + manifest, in a folder named by the hash of its configuration.

    ROOT/NAME/HASH/data.nc          labelled arrays
                   manifest.json    configuration and provenance; written last: its presence says the record is whole
                   chunks/          finished parts of a run that is not yet whole

Files appear under their final name only when complete (written beside it, flushed, renamed).
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import dae_theory

_PACKAGES = ("jax", "jaxlib", "optax", "flax", "numpy", "scipy", "xarray")


def config_hash(name: str, config: dict[str, Any]) -> str:
    """Twelve hexadecimal digits of SHA-256 over the sim's name, its configuration and the package version."""
    text = json.dumps([name, dae_theory.__version__, config], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a file beside `path`, flush it to disk, then rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class ChunkStore:
    """Finished chunks of an ensemble as one `.npz` a chunk, named by the members it holds."""

    def __init__(self, folder: Path):
        self.folder = folder

    def finished(self) -> dict[tuple[int, int], list[np.ndarray]]:
        """(start, stop) -> leaves, for every chunk on disk."""
        chunks = {}
        for path in sorted(self.folder.glob("*.npz")):
            start, stop = (int(part) for part in path.stem.split("-"))
            with np.load(path, allow_pickle=False) as file:
                chunks[start, stop] = [file[f"arr_{i}"] for i in range(len(file.files))]
        return chunks

    def save(self, start: int, stop: int, leaves: list[np.ndarray]) -> None:
        """Write one chunk."""

        def write(path: Path) -> None:
            with open(path, "wb") as file:
                np.savez(file, *leaves)

        write_atomically(self.folder / f"{start:08d}-{stop:08d}.npz", write)


@dataclass(frozen=True)
class Record:
    """The place of one result: `Record(root, name, config)`."""

    root: Path
    name: str
    config: dict[str, Any]

    @property
    def folder(self) -> Path:
        """ROOT/NAME/HASH."""
        return Path(self.root) / self.name / config_hash(self.name, self.config)

    @property
    def finished(self) -> bool:
        """Whether the record is whole."""
        return (self.folder / "manifest.json").is_file()

    def chunks(self, part: str) -> ChunkStore:
        """The store of finished chunks of one part of the run."""
        return ChunkStore(self.folder / "chunks" / part)

    def write(self, data: xr.Dataset, *, wall_seconds: float, **facts: Any) -> None:
        """Write the arrays, then the manifest, then drop the chunks."""
        write_atomically(self.folder / "data.nc", lambda path: data.to_netcdf(path, engine="h5netcdf"))
        manifest = {
            "name": self.name,
            "config": self.config,
            "hash": self.folder.name,
            "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "wall_seconds": round(wall_seconds, 3),
            **facts,
            **provenance(),
        }
        text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
        write_atomically(self.folder / "manifest.json", lambda path: path.write_text(text))
        shutil.rmtree(self.folder / "chunks", ignore_errors=True)

    def read(self) -> xr.Dataset:
        """The labelled arrays, in memory."""
        return read(self.folder)[0]

    def manifest(self) -> dict[str, Any]:
        """Configuration and provenance."""
        return json.loads((self.folder / "manifest.json").read_text())


def read(folder: Path) -> tuple[xr.Dataset, dict[str, Any]]:
    """Arrays and manifest of the record in a folder.

    Raises:
        ValueError: the folder holds no whole record.
    """
    folder = Path(folder)
    if not (folder / "manifest.json").is_file():
        raise ValueError(f"folder must hold a finished record (data.nc, manifest.json); got {folder}")
    return xr.load_dataset(folder / "data.nc", engine="h5netcdf"), json.loads((folder / "manifest.json").read_text())


def provenance() -> dict[str, Any]:
    """Commit, versions, device and precision of this process."""
    device = jax.devices()[0]
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": {
            "dae_theory": dae_theory.__version__,
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in _PACKAGES},
        },
        "device": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()},
        "x64": bool(jnp.zeros(()).dtype == jnp.float64),
    }


def _git(*arguments: str) -> str | None:
    """Output of git in the source tree of the package; None where there is no git or no checkout."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(dae_theory.__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

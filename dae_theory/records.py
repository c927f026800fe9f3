"""One result = arrays + manifest, in a folder named by the hash of its configuration.

    ROOT/NAME/HASH/data.nc          labelled arrays
                   manifest.json    configuration and provenance; written last: its presence says the record is whole
                   chunks/          finished parts of a run that is not yet whole

Files appear under their final name only when complete (written beside it, flushed, renamed). Numbers in data.nc carry
HDF5's own checksums.
"""

import contextlib
import hashlib
import io
import json
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import filelock
import jax
import jax.numpy as jnp
import xarray as xr

import dae_theory
from dae_theory.checks import Refusal
from dae_theory.chunks import ChunkStore
from dae_theory.files import digest as digest
from dae_theory.files import explained, write_atomically

_PACKAGES = ("jax", "jaxlib", "optax", "flax", "numpy", "scipy", "xarray")
_REMEDY = "restore it from a copy, or delete the folder and compute the record again"


def config_hash(name: str, config: dict[str, Any], version: str = dae_theory.__version__) -> str:
    """Twelve hexadecimal digits of SHA-256 over the sim's name, its configuration and the package version.

    The version moves whenever numbers change, so that a record of other numbers is not found.
    """
    text = json.dumps([name, version, config], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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

    def clear_chunks(self) -> None:
        """Drop what an unfinished run has left, spoiled chunks included, so that the next one starts anew."""
        shutil.rmtree(self.folder / "chunks", ignore_errors=True)

    def seconds_spent(self) -> float:
        """What the chunks on disk took, in this and earlier runs; 0 when none is there."""
        folders = sorted(path for path in (self.folder / "chunks").glob("*") if path.is_dir())
        return sum((ChunkStore(folder).seconds() for folder in folders), 0.0)

    @contextlib.contextmanager
    def lock(self, wait: float = 0.0) -> Iterator[None]:
        """Hold the record against other runs of the same configuration; a run that dies lets go of it.

        Args:
            wait: seconds to wait for another run that holds it; negative waits for ever.

        Raises:
            ValueError: another run still holds it.
            OSError: the folder cannot be written.
        """
        path = self.folder / ".lock"
        with contextlib.ExitStack() as held:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(filelock.FileLock(path, timeout=wait))
            except filelock.Timeout as error:
                holder = f"another process, which holds {path.name}"
                raise Refusal(f"record {self.folder} is being computed by {holder}: wait for it to end") from error
            except OSError as error:
                raise explained(error, path) from error
            yield

    def write(self, data: xr.Dataset, *, wall_seconds: float, keep_chunks: bool = False, **facts: Any) -> None:
        """Write the arrays, then the manifest, then drop the chunks, unless other processes may still read them.

        Raises:
            OSError: the folder cannot be written or its disk is full; chunks are kept.
        """
        checked = {
            name: {"fletcher32": True}
            for name, variable in data.variables.items()
            if variable.dtype.kind in "fiub" and variable.ndim and variable.size
        }
        held = io.BytesIO()  # HDF5 itself would take the process down with it where it meets a full disk
        data.to_netcdf(held, engine="h5netcdf", encoding=checked)
        write_atomically(self.folder / "data.nc", lambda path: path.write_bytes(held.getbuffer()))
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
        if not keep_chunks:
            self.clear_chunks()

    def read(self) -> xr.Dataset:
        """The labelled arrays, in memory."""
        return read(self.folder)[0]

    def manifest(self) -> dict[str, Any]:
        """Configuration and provenance."""
        return _manifest(self.folder)


def read(folder: Path) -> tuple[xr.Dataset, dict[str, Any]]:
    """Arrays and manifest of the record in a folder.

    Raises:
        ValueError: the folder holds no whole record, or one of its files is damaged; names it.
    """
    folder = Path(folder)
    manifest = _manifest(folder)
    path = folder / "data.nc"
    if not path.is_file():
        raise Refusal(f"folder must hold data.nc beside manifest.json; {path} is missing: {_REMEDY}")
    try:
        return xr.load_dataset(path, engine="h5netcdf"), manifest
    except PermissionError:
        raise
    except Exception as error:  # whatever HDF5 and xarray raise at bytes that are not theirs
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Refusal(f"folder must hold a whole data.nc; {path} is damaged ({reason}): {_REMEDY}") from error


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.is_file():
        raise Refusal(f"folder must hold a finished record (data.nc, manifest.json); got {folder}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Refusal(f"folder must hold a valid manifest; {path} is no JSON ({error}): {_REMEDY}") from error
    needed = {"name", "config", "hash", "written"}
    lacking = sorted(needed - set(manifest)) if isinstance(manifest, dict) else sorted(needed)
    if lacking:
        raise Refusal(f"folder must hold a valid manifest; {path} lacks {', '.join(lacking)}: {_REMEDY}")
    return manifest


def versions() -> dict[str, str]:
    """Of this package, of Python and of the packages that decide numbers."""
    return {
        "dae_theory": dae_theory.__version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in _PACKAGES},
    }


def provenance() -> dict[str, Any]:
    """Commit, versions, device and precision of this process."""
    device = jax.devices()[0]
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": versions(),
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

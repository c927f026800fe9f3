"""Take a sim's finished record among the committed ones: the same numbers, compressed without loss."""

import shutil
from pathlib import Path

import numpy as np

from dae_theory import records

LIMIT = 600_000  # bytes of one record in git
SMALL = 4096  # bytes of an array that is kept as it is: in pieces that can be compressed it would take more


def keep(source: Path, target: Path) -> str:
    """Write `target`/data.nc, compressed, and the manifest as it is.

    Raises:
        ValueError: the record was made from uncommitted sources, or is too large for git.
    """
    data, manifest = records.read(source)
    data = data.drop_encoding()  # of the file it was read from
    if manifest["dirty"]:
        raise ValueError(f"record must come from a clean commit; that in {source} has the flag dirty")
    encoding = {
        name: {"zlib": True, "complevel": 9, "shuffle": True}
        for name, array in data.variables.items()
        if np.issubdtype(array.dtype, np.number) and array.nbytes > SMALL
    }
    records.write_atomically(
        target / "data.nc", lambda path: data.to_netcdf(path, engine="h5netcdf", encoding=encoding)
    )
    size = (target / "data.nc").stat().st_size
    if size > LIMIT:
        (target / "data.nc").unlink()
        raise ValueError(f"record must take at most {LIMIT} bytes in git; {source} takes {size}: store what is drawn")
    shutil.copyfile(source / "manifest.json", target / "manifest.json")
    return f"{target} ({size / 1024:.0f} KiB)"

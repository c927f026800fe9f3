"""Files that are whole or absent, and the identity of what they hold."""

import errno
import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dae_theory.checks import Refusal


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a file beside `path`, flush it to disk, then rename it to `path`.

    Raises:
        OSError: the folder cannot be written or its disk is full; says which file and what to do.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise explained(error, path) from error
    finally:
        if partial.parent.is_dir():
            partial.unlink(missing_ok=True)


def explained(error: OSError, path: Path) -> OSError:
    """The same error, saying which file could not be written and what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or "errno = 28" in str(error):  # HDF5 hides the number in its text
        number, remedy = errno.ENOSPC, "the disk is full: free some space"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        number, remedy = error.errno, "no permission to write there: choose another folder"
    else:
        number, remedy = error.errno or errno.EIO, f"{error.strerror or error}: see to it, or choose another folder"
    return OSError(number, f"{path} cannot be written; {remedy}, then run the same again (what is finished is kept)")


def digest(path: str | Path) -> str:
    """SHA-256, in hexadecimal digits, of what a file holds, or a folder.

    Only contents count for a file, so a renamed copy is the same; for a folder also the names relative to it of all
    files below it, in whatever order the disk lists them.

    Raises:
        ValueError: there is no such file or folder, or the folder holds no file.
    """
    path = Path(path)
    if path.is_file():
        return _of_file(path)
    if not path.is_dir():
        raise Refusal(f"path must be a file or a folder; got {path}, which does not exist")
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    if not names:
        raise Refusal(f"path must hold a file; the folder {path} is empty")
    whole = hashlib.sha256()
    for name in names:  # lengths and digests are fixed, so no two folders run together to one text
        whole.update(hashlib.sha256(name.encode()).digest() + bytes.fromhex(_of_file(path / name)))
    return whole.hexdigest()


def _of_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

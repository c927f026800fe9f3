"""What a record is found by where a configuration names files: what they hold, not where they lie.

`npz:FILE` and `folder:DIR` in any field, and fields that are paths themselves (`contents.PATH`), enter a record's
identity by a digest. So a changed file is another record, and one file by two paths is one record. A configuration
that names no file of one's own is found by its fields as they are.
"""

import dataclasses
from pathlib import Path
from typing import Any

from dae_theory import files
from dae_theory.checks import Refusal
from sims.launch import limits
from sims.launch.fields import as_plain

PATH = {"path": True}  # metadata of a field that holds a path
OWN = ("npz:", "folder:")  # before the path to images of one's own
DIGITS = 16


def identity(config: Any) -> dict[str, Any]:
    """The configuration as JSON types, flat, every file of one's own by what it holds.

    Raises:
        ValueError: naming the option: there is no such file or folder, or the folder is empty.
    """
    paths = _paths(config)
    return {name: _by_contents(name, value, name in paths) for name, value in as_plain(config).items()}


def names(config: Any) -> dict[str, Any]:
    """Field -> the value with files by name alone, for every field that names one: what a manifest tells its reader."""
    told, paths = {}, _paths(config)
    for name, value in as_plain(config).items():
        parts = value if isinstance(value, list) else [value]
        short = [_name(part, name in paths) for part in parts]
        if any(one is not None for one in short):
            shown = [part if one is None else one for part, one in zip(parts, short, strict=True)]
            told[name] = shown if isinstance(value, list) else shown[0]
    return told


def digest(field: str, source: Any) -> str:
    """Of what npz:FILE or folder:DIR holds; empty for anything else.

    Raises:
        ValueError: naming the field's option: there is no such file or folder, or the folder is empty.
    """
    if not isinstance(source, str) or not source.startswith(OWN):
        return ""
    try:
        return files.digest(source.partition(":")[2])[:DIGITS]
    except ValueError as error:
        raise Refusal(f"{limits.option(field)} must name a file or a folder with files; {error}") from error


def _paths(config: Any) -> set[str]:
    """Fields that hold paths, parts opened."""
    found: set[str] = set()
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found |= _paths(value)
        elif field.metadata.get("path"):
            found.add(field.name)
    return found


def _by_contents(field: str, value: Any, is_path: bool) -> Any:
    if isinstance(value, list):
        return [_by_contents(field, part, is_path) for part in value]
    if held := digest(field, value):
        return f"{value.partition(':')[0]}:{held}"
    if is_path and value and Path(value).exists():
        return files.digest(value)[:DIGITS]
    return value


def _name(value: Any, is_path: bool) -> str | None:
    """The last part of the path, None for what names no file."""
    if isinstance(value, str) and value.startswith(OWN):
        kind, _, path = value.partition(":")
        return f"{kind}:{Path(path).name}"
    return Path(value).name if is_path and value and Path(value).exists() else None

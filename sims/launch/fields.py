"""A configuration as one flat list of fields: nested parts (a mixture's, training's) count as its own.

Names are unique over all parts, since each is an option of the command line.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any


def flat(config: Any) -> dict[str, Any]:
    """Field -> value, parts opened."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        part = flat(value) if dataclasses.is_dataclass(value) else {field.name: value}
        if twice := found.keys() & part.keys():
            raise TypeError(f"{type(config).__name__} has the field {twice.pop()!r} twice")
        found |= part
    return found


def replaced(config: Any, values: Mapping[str, Any]) -> Any:
    """The configuration with some fields replaced, wherever they stand."""
    unknown = values.keys() - flat(config).keys()
    if unknown:
        raise TypeError(f"{type(config).__name__} has no field {sorted(unknown)[0]!r}")
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            inside = flat(value).keys() & values.keys()
            changes[field.name] = replaced(value, {name: values[name] for name in inside})
        elif field.name in values:
            changes[field.name] = values[field.name]
    return dataclasses.replace(config, **changes)


def as_plain(config: Any) -> dict[str, Any]:
    """The configuration as JSON types, flat: what a record is found by, and every field an option."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in flat(config).items()}

"""A command line looked over before it is parsed: one line names the option, what was given and what is allowed."""

import dataclasses
import difflib
import sys
import types
import typing
from collections.abc import Sequence
from typing import Any

from dae_theory.checks import Refusal
from sims.launch.limits import option

WORDS = {int: "a whole number", float: "a number", str: "a text"}


def look_over(name: str, arguments: Sequence[str], *parts: type) -> None:
    """Ends the program with a line where the arguments are no options of these dataclasses, or their values no such.

    Only what a person mistypes is looked for; whoever asks for help gets it.
    """
    if {"-h", "--help"} & set(arguments):
        return
    try:
        refuse(arguments, *parts)
    except Refusal as error:
        print(f"{name}: {error}; python -m sims.{name} --help lists all options", file=sys.stderr)
        sys.exit(2)


def refuse(arguments: Sequence[str], *parts: type) -> None:
    """Raises ValueError for the first argument that cannot be."""
    known = {option(field): kind for part in parts for field, kind in kinds(part).items()}
    place = 0
    while place < len(arguments):
        given, equals, attached = arguments[place].partition("=")
        place += 1
        if not given.startswith("--"):
            raise Refusal(f"{given!r} belongs to no option: options begin with --")
        given, switched_off = given.replace("_", "-"), False
        if given not in known and f"--{given.removeprefix('--no-')}" in known:
            given, switched_off = f"--{given.removeprefix('--no-')}", True
        if given not in known or (switched_off and known[given] is not bool):
            near = difflib.get_close_matches(given, known, n=1, cutoff=0.7)
            raise Refusal(f"unknown option {arguments[place - 1]}" + (f" (is {near[0]} meant?)" if near else ""))
        values = [attached] if equals else []
        while not equals and place < len(arguments) and not arguments[place].startswith("--"):
            values.append(arguments[place])
            place += 1
        _values(given, known[given], values)


def kinds(part: type) -> dict[str, Any]:
    """Field -> its type, of a dataclass and the dataclasses within."""
    hints, found = typing.get_type_hints(part), {}
    for field in dataclasses.fields(part):
        hint = hints[field.name]
        found |= kinds(hint) if isinstance(hint, type) and dataclasses.is_dataclass(hint) else {field.name: hint}
    return found


def _values(given: str, kind: Any, values: list[str]) -> None:
    """Refuse values that are none of the kind, too few or too many."""
    several = typing.get_origin(kind) is tuple
    if kind is bool:
        if values:
            raise Refusal(
                f"{given} takes no value (--no-{given.removeprefix('--')} is its opposite); got {values[0]!r}"
            )
        return
    if not values or (not several and len(values) > 1):
        allowed = "one value or more" if several else "one value"
        raise Refusal(f"{given} must be followed by {allowed}; got {' '.join(values) or 'none'}")
    for value in values:
        _value(given, typing.get_args(kind)[0] if several else kind, value)


def _value(given: str, kind: Any, value: str) -> None:
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        inner = [one for one in typing.get_args(kind) if one is not type(None)]
        if value == "None" or len(inner) > 1:
            return
        kind = inner[0]
    if typing.get_origin(kind) is typing.Literal:
        allowed = [str(one) for one in typing.get_args(kind)]
        if value not in allowed:
            raise Refusal(f"{given} must be one of {', '.join(allowed)}; got {value!r}")
    elif kind in WORDS:
        try:
            kind(value)
        except ValueError as error:
            raise Refusal(f"{given} must be {WORDS[kind]}; got {value!r}") from error

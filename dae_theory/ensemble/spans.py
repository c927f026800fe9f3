"""Which members are done and which are not: spans (start, stop) of a run of members."""

from collections.abc import Iterable

Span = tuple[int, int]


class Lost(RuntimeError):
    """Members were not computed, though nothing is wrong with the arguments: a process or a worker ended."""


def cells(members: int, size: int) -> list[Span]:
    """0:size, size:2·size, … up to `members`: the same grid whatever is finished already."""
    return [(start, min(start + size, members)) for start in range(0, members, size)]


def uncovered(span: Span, found: Iterable[Span]) -> list[Span]:
    """The parts of `span` that no found span covers."""
    low, stop = span
    gaps = []
    for start, end in sorted(found):
        if end <= low or start >= stop:
            continue
        if start > low:
            gaps.append((low, start))
        low = max(low, end)
    return [*gaps, (low, stop)] if low < stop else gaps


def show(spans: Iterable[Span]) -> str:
    """`0:8, 16:24`."""
    return ", ".join(f"{start}:{stop}" for start, stop in spans)

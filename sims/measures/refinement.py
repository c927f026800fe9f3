"""Where to spend the next nets: at the n between which a boundary lies, of the lines whose band is widest.

A line is the index over n at one width, with any number of nets at any n, all independent. Its boundary is where the
mean index first falls through the level on its way to a lower one (`boundary.crossing`: no curve is taken to be
monotone), its band comes from resampling the nets at every n on their own. The shares of resamples whose boundary lies
in each interval between two n say where a net helps. A band knows the noise of the nets, not the error of drawing
straight lines between two n.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dae_theory import boundary

SHARE = 0.1  # of resamples: an interval that fewer find the boundary in gets no nets


@dataclass(frozen=True)
class Band:
    """A boundary with its 95 % band.

    Attributes:
        location: NaN where there is none.
        low: lower end, over the resamples that have one.
        high: upper end.
        found: share of resamples that have one.
        resamples: boundaries of the resamples, NaN for none.
    """

    location: float
    low: float
    high: float
    found: float
    resamples: np.ndarray

    @property
    def width(self) -> float:
        """log(high/low); infinite where it is open whether there is a boundary, NaN where there is none."""
        if self.found < 0.05:
            return float("nan")
        return float("inf") if self.found < 0.95 else float(np.log(self.high / self.low))


Line = Mapping[int, Sequence[float]]  # n -> index of every net there


def locate(line: Line, seed: int, *, level: float, below: float, resamples: int) -> Band:
    """The boundary of one line; at least two nets at every n.

    The band lacks Student's factor: with four nets at each n it covers in five of six cases. It plans, and is compared
    with a band of the same kind.
    """
    n = sorted(line)
    rng = np.random.default_rng(seed)
    drawn = []
    for at in n:
        values = np.asarray(line[at])
        count = len(values)
        means = values[rng.integers(0, count, (resamples, count))].mean(axis=1)
        # resampled means of m values spread by 1 − 1/m of the variance that a mean of m has
        drawn.append(values.mean() + np.sqrt(count / (count - 1)) * (means - values.mean()))
    found = np.asarray([boundary.crossing(n, curve, level, below=below) for curve in np.stack(drawn, axis=1)])
    kept = found[np.isfinite(found)]
    low, high = np.quantile(kept, [0.025, 0.975]) if kept.size else (np.nan, np.nan)
    location = boundary.crossing(n, [np.mean(line[at]) for at in n], level, below=below)
    return Band(location, float(low), float(high), kept.size / resamples, found)


def wanted(line: Line, band: Band, *, finest: float) -> list[int]:
    """The n at which nets help to locate the boundary of a line.

    For every interval in which enough resamples find it: the n in the middle, in log, or both ends where these are
    within a factor `finest` or neighbours. Where it is open whether there is a boundary, the n of lowest index as well.
    """
    n = sorted(line)
    kept = band.resamples[np.isfinite(band.resamples)]
    chosen: set[int] = set()
    for low, high in itertools.pairwise(n):
        if np.sum((low <= kept) & (kept < high)) >= SHARE * len(kept):
            middle = round(np.sqrt(low * high))
            chosen |= {low, high} if high <= finest * low or not low < middle < high else {middle}
    if band.found < 0.95:
        chosen.add(min(n, key=lambda at: float(np.mean(line[at]))))
    return sorted(chosen)


def plan(lines: Mapping[int, Line], bands: Mapping[int, Band], budget: int, *, finest: float) -> list[tuple[int, int]]:
    """(line, n) of `budget` nets: the half of the lines with the widest bands, in equal parts.

    Lines without a boundary get none; where no line has one the plan is empty.
    """
    open_ = {name: band.width for name, band in bands.items() if not np.isnan(band.width)}
    widest = sorted(open_, key=lambda name: -open_[name])[: max(1, len(lines) // 2)]
    places = {name: wanted(lines[name], bands[name], finest=finest) for name in widest}
    asked = [(name, places[name]) for name in widest if places[name]]
    return [
        (name, at[turn % len(at)])
        for part, (name, at) in enumerate(asked)
        for turn in range(budget // len(asked) + (part < budget % len(asked)))
    ]

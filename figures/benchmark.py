"""How near the ensemble is to the machine's own rate, and how many times as fast as the same nets in PyTorch.

a, b: medians over rounds in which all take turns, with 95 % intervals of the median; sizes are samples, dimension and
neurons. a: rate of the ensemble's matrix products over that of one large product; black lines what was aimed at. c: the
default phase diagram from its command to its record; bars are seconds, the circle is where training starts. d: value
and gradient of the exact objective (6) beside its rivals. e: seconds of training and memory at its height against
members, over those of the fewest; the grey line is in proportion. f: as many members on every simulated device; time
over the device's share of the machine's cores, 1 where splitting costs nothing.
"""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.look import style

GEMM, RIVALS = "one product of two matrices", ("PyTorch loop", "torch.func.vmap")
WAYS = {  # contestant -> label, colour
    "ensemble, threefry": ("threefry noise", "#0072B2"),
    "ensemble, hashed": ("hashed noise", "#D55E00"),
    "ensemble, hashed and common noise": ("hashed, common noise", "#009E73"),
}
AIMS = {  # of the ensemble with hashed noise, then with common noise: share of the machine's rate
    "128/64/64": (0.6, 0.7),
    "256/1024/100": (0.75, None),
}


def draw(data: xr.Dataset) -> Figure:
    """One panel a question, of the sections that the record has."""
    sections = data.attrs["sections"].split()
    panels: list[tuple[str, str, Callable[[Axes, xr.Dataset], None]]] = [
        ("nets", "share of the machine's rate", _shares),
        ("nets", "times as fast as PyTorch", _times),
        ("map", "the default map", _map),
        ("objective", "exact objective", _objective),
        ("members", "many members", _members),
        ("members", "many devices", _devices),
    ]
    shown = [(title, paint) for section, title, paint in panels if section in sections]
    rows = int(np.ceil(len(shown) / 2)) or 1
    figure, axes = plt.subplots(rows, 2, figsize=(style.PAGE, 2.3 * rows), squeeze=False)
    for letter, panel, (title, paint) in zip("abcdef", axes.flat, shown, strict=False):
        paint(panel, data)
        style.panel_letter(panel, letter, title)
    for panel in axes.flat[len(shown) :]:
        panel.set_axis_off()
    if "nets" in sections:
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=len(WAYS))
    figure.suptitle(f"{data.attrs['machine']}, load {data.attrs['load_before']:.1f}", x=0.01, ha="left", fontsize=8)
    return figure


def _ratio(at: xr.Dataset, who: str, of: str) -> tuple[float, float, float]:
    """Median over rounds, and the two ends of its interval."""
    rate = at["nets_flops_per_second"]
    ratios = np.sort(rate.sel(contestant=who).values / rate.sel(contestant=of).values)
    low = 1 if len(ratios) >= 9 else 0
    return float(np.median(ratios)), float(ratios[low]), float(ratios[-1 - low])


def _bars(axes: Axes, groups: Sequence[str], values: dict[str, list[tuple[float, float, float]]]) -> np.ndarray:
    """Grouped bars with intervals; where the bars of each name stand, (name, group)."""
    width = 0.8 / len(values)
    places = np.arange(len(groups))[None, :] + (np.arange(len(values))[:, None] - (len(values) - 1) / 2) * width
    for place, (name, found) in zip(places, values.items(), strict=True):
        label, color = WAYS[name]
        middle, low, high = np.asarray(found).T
        axes.bar(place, middle, width, color=color, label=label, alpha=0.85)
        axes.errorbar(place, middle, yerr=[middle - low, high - middle], linestyle="", color="0.2", linewidth=0.8)
    axes.set_xticks(range(len(groups)), groups)
    return places


def _shares(axes: Axes, data: xr.Dataset) -> None:
    sizes = [str(size) for size in data["size"].values]
    places = _bars(axes, sizes, {who: [_ratio(data.sel(size=size), who, GEMM) for size in sizes] for who in WAYS})
    for group, size in enumerate(sizes):
        for place, aim in zip(places[1:, group], AIMS.get(size, ()), strict=False):
            if aim is not None:
                axes.plot([place - 0.13, place + 0.13], [aim, aim], color="black", linewidth=1.5)
    axes.set_ylim(0, max(1.0, axes.get_ylim()[1]))
    axes.set_ylabel("of a large product's")


def _times(axes: Axes, data: xr.Dataset) -> None:
    rivals = [name for name in RIVALS if name in data["contestant"].values]
    sizes = [str(size) for size in data["size"].values]
    groups = [(size, rival) for size in sizes for rival in rivals]
    if groups:
        found = {who: [_ratio(data.sel(size=size), who, rival) for size, rival in groups] for who in WAYS}
        _bars(axes, [rival.removeprefix("torch.func.").removeprefix("PyTorch ") for _, rival in groups], found)
        for place, size in enumerate(sizes):
            middle = len(rivals) * place + (len(rivals) - 1) / 2
            axes.text(middle, -0.17, size, transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=7)
    axes.axhline(1, color="0.5", linewidth=0.8)
    axes.set(yscale="log", ylabel="ratio of model-steps a second")


def _map(axes: Axes, data: xr.Dataset) -> None:
    starts = [str(start) for start in data["start"].values]
    for row, start in enumerate(starts):
        at = data.sel(start=start)
        axes.barh(row, float(at["map_seconds"]), color="#0072B2", alpha=0.85)
        axes.plot(float(at["map_start"]), row, "o", color="white", markeredgecolor="black", markersize=5)
    axes.set_yticks(range(len(starts)), [start.replace(", ", ",\n") for start in starts])
    axes.invert_yaxis()
    models = int(data["map_models"].values[0])
    axes.set(xlabel=f"seconds, {models} nets")


def _objective(axes: Axes, data: xr.Dataset) -> None:
    time = data["objective_nanoseconds"]
    middle = time.median("round").values
    ends = np.stack([middle - time.min("round").values, time.max("round").values - middle])
    ways = [str(way).replace(", ", ",\n").replace(" of ", "\nof ") for way in time["way"].values]
    axes.barh(range(len(ways)), middle, xerr=ends, color="#0072B2", alpha=0.85, error_kw={"linewidth": 0.8})
    axes.set_yticks(range(len(ways)), ways)
    axes.tick_params(axis="y", labelsize=6)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="ns per sample and pair of neurons")


def _members(axes: Axes, data: xr.Dataset) -> None:
    members = data["members"].values
    axes.plot(members, members / members[0], color="0.7", label="in proportion")
    for name, label, unit, mark in (("seconds", "training", "s", "o"), ("resident", "memory", "GiB", "s")):
        values = data[f"members_{name}"].values
        ends = f"{label}, {values[0]:.2g} to {values[-1]:.2g} {unit}"
        axes.plot(members, values / values[0], mark, linestyle="-", label=ends)
    axes.set(xscale="log", yscale="log", xlabel="members, d = p = n = 16", ylabel="over those of the fewest")
    axes.legend()


def _devices(axes: Axes, data: xr.Dataset) -> None:
    devices = data["devices"].values
    turns = data["devices_seconds"].values
    over = turns / turns[:, :1] / data["devices_fair"].values[None, :]
    axes.plot(devices, over.T, "o", color="#0072B2")
    axes.axhline(1, color="0.7")
    axes.set_xticks(devices, [str(count) for count in devices])
    axes.set(xlabel="simulated devices", ylabel="time over the fair share", ylim=(0, None))

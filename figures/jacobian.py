"""The Jacobian has rank one at a memorized sample; at generalized ones it has the shrunk spectrum of the data.

Points: singular values, mean over training samples, ± SEM over seeds (often below the size of a point), bars the spread
over samples. Lines: theory, (‖x‖² − nλ)/(‖x‖² + σ²) for few samples and (Λ_j − nλ)/(Λ_j + n_kσ²) for many.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from figures import _summary
from figures.look import style

LOOKS = {"few": ("o", "#D55E00", "-"), "many": ("s", "#0072B2", "--")}
FLOOR = 3e-4
RESOLVED = 0.05


def draw(data: xr.Dataset) -> Figure:
    """One panel a kind of samples."""
    figure, panels = plt.subplots(1, data.sizes["world"], figsize=(style.PAGE, 3.3), sharey=True, squeeze=False)
    for letter, axes, name in zip("abc", panels[0], data["world"].values, strict=False):
        for regime, (marker, color, line) in LOOKS.items():
            at = data.sel(world=name, regime=regime)
            index, predicted = data["index"].values, at["predicted"].values
            shown = predicted > 0
            n = int(at["samples"])
            silent = regime == "many" and "centred" in str(name)
            axes.plot(
                np.append(index[shown], index[shown][-1:] + 0.5), np.append(predicted[shown], FLOOR), linestyle=line,
                color=color, label=f"theory, $n={n}$" + (" (not for mean 0)" if silent else ""),
            )  # fmt: skip
            mean = at["measured"].mean("seed").values
            error = at["measured"].std("seed", ddof=1).values / np.sqrt(data.sizes["seed"])
            drawn = mean > FLOOR
            spread = at["spread"].values[drawn]
            low = np.maximum(mean[drawn] - spread, FLOOR)
            axes.vlines(index[drawn], low, mean[drawn] + spread, color=color, alpha=0.3, linewidth=2)
            # a ring, since both may have the same first value
            ring = {"markersize": 6, "markerfacecolor": "none", "zorder": 4} if regime == "few" else {}
            axes.errorbar(
                index[drawn], mean[drawn], yerr=error[drawn], fmt=marker, color=color, label=f"nets, $n={n}$", **ring
            )
        axes.set(yscale="log", ylim=(FLOOR, 2), xlabel="index $j$", xscale="log")
        axes.set_xticks([1, 2, 5, 10, 20, 40], ["1", "2", "5", "10", "20", "40"])
        axes.minorticks_off()
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, fontsize="x-small", columnspacing=1.0)
        style.panel_letter(axes, letter, str(name))
    panels[0, 0].set_ylabel("singular value $s_j(J(x))$")
    return figure


def summary(data: xr.Dataset) -> list[_summary.Row]:
    """First and second singular value of few; gains of many."""
    rows = []
    for name in data["world"].values:
        few, many = (data.sel(world=name, regime=regime) for regime in ("few", "many"))
        kept = many["predicted"] > RESOLVED
        ratio = (many["measured"] / many["predicted"]).where(kept).mean("index")
        rows += [
            _summary.mean(
                f"few, {name}: first singular value over predicted",
                "(9)  (‖x‖² − nλ)/(‖x‖² + σ²)",
                few["measured"].sel(index=1) / few["predicted"].sel(index=1),
                1.0,
                tolerance=0.01,
            ),
            _summary.mean(
                f"few, {name}: second singular value",
                "(9)  rank 1",
                few["measured"].sel(index=2),
                0.0,
                tolerance=0.01,
                scale=1.0,
            ),
            _summary.mean(
                f"many, {name}: singular values over predicted, mean over j",
                "(8)  (Λ_j − nλ)/(Λ_j + n_kσ²)",
                ratio,
                1.0,
                tolerance=0.05,
            ),
        ]
    return rows

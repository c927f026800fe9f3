"""The Jacobian has rank one at a memorized sample; at generalized ones it has the shrunk spectrum of the data.

Points: singular values, mean over training samples, ± SEM over seeds (often below the size of a point), bars the spread
over samples. Lines: theory, (‖x‖² − nλ)/(‖x‖² + σ²) for few samples and (Λ_j − nλ)/(Λ_j + n_kσ²) for many.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from figures.look import style

LOOKS = {"few": ("o", "#D55E00", "-"), "many": ("s", "#0072B2", "--")}
FLOOR = 3e-4


def draw(data: xr.Dataset) -> Figure:
    """One panel a kind of samples."""
    figure, panels = plt.subplots(1, data.sizes["kind"], figsize=(style.PAGE, 3.3), sharey=True, squeeze=False)
    for letter, axes, name in zip("abc", panels[0], data["kind"].values, strict=False):
        for regime, (marker, color, line) in LOOKS.items():
            at = data.sel(kind=name, regime=regime)
            index, predicted = data["index"].values, at["predicted"].values
            shown = predicted > 0
            n = int(at["samples"])
            silent = regime == "many" and "centred" in str(name)
            axes.plot(
                np.append(index[shown], index[shown][-1:] + 0.5),
                np.append(predicted[shown], FLOOR),
                linestyle=line,
                color=color,
                label=f"theory, $n={n}$" + (" (not for mean 0)" if silent else ""),
            )
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

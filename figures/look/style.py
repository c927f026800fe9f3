"""What every figure shares: the style, the look of theory (lines) and measurement (points), and saving with origin."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLES = {"paper": 1.0, "slide": 1.3}  # how much bolder lines and marks are
TIGHTER = {"paper": 1.0, "slide": 1.12}  # by how much a figure is smaller than its text was sized for: text grows
COLUMN = 3.4  # inches, one column of a two-column page
PAGE = 7.0

# theory's conditions keep one look in every figure; dashes tell them apart without colour. What is no condition but a
# prediction that fails (equal objective, were all gates right) stands in the rows alone
LINE_LOOKS = {
    "width": {"color": "white", "linestyle": "-"},
    "angle": {"color": "#56B4E9", "linestyle": "--"},
    "isolation": {"color": "#E69F00", "linestyle": "-."},
    "decay": {"color": "#CC79A7", "linestyle": (0, (1, 1))},
}


def use(style: str = "paper") -> None:
    """Switch matplotlib to the paper's style; bolder marks for slides, whose figures `save` makes larger as a whole."""
    mpl.use("Agg")
    plt.style.use(Path(__file__).with_name("paper.mplstyle"))
    bolder = STYLES[style]
    for name in ("lines.linewidth", "lines.markersize", "axes.linewidth", "savefig.dpi"):
        mpl.rcParams[name] = mpl.rcParams[name] * bolder


def edges(centers: Any) -> np.ndarray:
    """Cell edges halfway, in logarithms, between positive centers."""
    logs = np.log(np.asarray(centers, float))
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - middle[0]], middle, [2 * logs[-1] - middle[-1]]]))


def panel_letter(axes: Axes, letter: str, title: str) -> None:
    """Letter and title above a panel, left-aligned."""
    axes.set_title(f"{letter}  {title}", loc="left")


def save(figure: Figure, path: Path, *, record: str, commit: str | None, style: str = "paper") -> list[Path]:
    """PNG and PDF beside each other, carrying the record's hash and the commit in their metadata.

    The figure is laid out once, which takes longest: what is saved from it later has the same places.
    """
    figure.set_size_inches(*(side / TIGHTER[style] for side in figure.get_size_inches()))
    origin = f"record {record}, commit {commit or 'unknown'}"
    written = []
    for suffix, metadata in ((".png", {"Description": origin}), (".pdf", {"Subject": origin, "CreationDate": None})):
        target = path.with_suffix(suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, metadata=metadata)
        figure.set_layout_engine("none")
        written.append(target)
    return written

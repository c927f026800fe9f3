"""Score samples by the activations they cause: of a torch module, a diffusers pipeline, or saved in a file.

python -m sims.score_model --activations FILE.npz
python -m sims.score_model --pipeline DIR_OR_NAME --images DIR
python -m sims.score_model --module package.module:factory --weights FILE --images DIR

A file holds one array (n, ...) for each layer, `memorized` (n,) with 0 and 1, and, for the controls, `inputs` (n, ...)
and `denoised` (n, ...) where there are any. A folder of images has a subfolder `memorized` with the samples known to be
memorized and others beside it; without it, scores are recorded and no table can be made. Scores of images stand in
scores.csv beside the record as well, the most suspicious image first, and figure.png shows the first and the last.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, detection
from dae_theory.checks import Refusal
from dae_theory.data.folder import image_files
from dae_theory.randomness import derive
from sims import launch
from sims.launch import contents, limits
from sims.measures import scored, suspects
from sims.measures.tables import CONTROLS, score_lines, worth_printing
from sims.nets import foreign
from sims.worlds import demo, groups
from sims.worlds.activations import Activations, pooled, read_activations

DEMO = "demo"
MOST = 24  # rows that the terminal shows


@dataclass(frozen=True)
class Config:
    """Detect memorized samples by how spiky their activations are; thresholds are fitted on one half, reported on the
    other.
    """

    activations: str = field(default="", metadata=contents.PATH)
    """File (.npz) with activations, or `demo`: the analytic network of a hybrid mixture, where the answer is known."""
    pipeline: str = field(default="", metadata=contents.PATH)
    """Folder or name of a diffusers pipeline (needs the extra torch)."""
    module: str = ""
    """package.module:factory of a torch denoiser, from noised images (b, c, h, w) in [−1, 1] to clean ones."""
    weights: str = field(default="", metadata=contents.PATH)
    """Its weights, as torch.save(net.state_dict(), FILE) writes them."""
    baseline: str = field(default="", metadata=contents.PATH)
    """Weights of the same module that cannot have memorized the images: an earlier net, or one trained on others."""
    untrained: bool = True
    """Without --baseline, compare with the module without its weights, which can have memorized nothing."""
    groups: str = field(default="", metadata=contents.PATH)
    """What images belong to (source image, person): a CSV file of image,group, or before:MARK for what stands before
    MARK in an image's name."""
    noise_stds: tuple[float, ...] = (0.1, 0.3)
    """σ at which the module is read."""
    colour: bool = False
    """Give the module images with three channels instead of one."""
    size: int = 0
    """Height and width that images are cut to; 0 leaves them as they are."""
    rank_by: str = ""
    """Score by which images are ordered in scores.csv; by default the denoising loss at the first noise level."""
    images: str = field(default="", metadata=contents.PATH)
    """Folder of images for the pipeline or module."""
    memorized: str = scored.MEMORIZED
    """Subfolder of images with the memorized ones; empty for images without labels."""
    names: tuple[str, ...] = ()
    """Modules of the network to read; by default every block."""
    timestep: int = 100
    """t of the forward noise."""
    pooling: Literal["max", "mean", "none"] = "max"
    """How activations become vectors: maxima or means over positions, or all entries."""
    channel_axis: int = 1
    """Axis of the channels in saved activations with positions; a pipeline knows its own."""
    batch_size: int = 16
    """Images given to the pipeline at once."""
    fpr: float = 0.01
    """False positive rate at which thresholds are fitted."""
    resamples: int = 1000
    """Bootstrap resamples."""
    seed: int = 0
    """Root of all randomness."""


SMOKE = {"activations": DEMO, "resamples": 50}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    if config.pipeline and config.activations == DEMO:
        config = replace(config, activations="")  # --smoke --pipeline ...
    if config.module and config.activations == DEMO:
        config = replace(config, activations="")
    if sum(map(bool, (config.activations, config.pipeline, config.module))) != 1:
        raise Refusal("give one of --activations FILE.npz, --pipeline NAME or --module NAME; these with --images")
    if not config.activations and not config.images:
        raise Refusal("--images must name a folder when --pipeline or --module is given")
    for name in ("baseline", "groups", "weights"):
        if getattr(config, name) and not (config.module or (config.pipeline and name == "groups")):
            raise Refusal(f"{limits.option(name)} goes with --module; got {getattr(config, name)!r}")
    if config.module:
        limits.above_zero(config, "noise_stds")
        limits.distinct(config, "noise_stds")
        foreign.load(config.module, config.weights, config.seed, config.baseline)
    if config.images and not Path(config.images).is_dir():
        raise Refusal(f"--images must be a folder; got {config.images!r}")
    if config.groups:
        groups.read(config.groups, [file.relative_to(config.images).as_posix() for file in image_files(config.images)])
    limits.at_least(config, batch_size=1, resamples=2, timestep=0, size=0)
    if not 0 < config.fpr < 1:
        raise Refusal(f"--fpr must lie in (0, 1); got {config.fpr}")
    if config.activations not in ("", DEMO):
        read_activations(config.activations)
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Scores of every sample, and the table where labels are known."""
    key = derive(jax.random.key(config.seed), "table")
    options = {"fpr": config.fpr, "resamples": config.resamples}
    pictures = xr.Dataset()
    if not config.activations:
        found = scored.by_module(config) if config.module else scored.by_pipeline(config)
        columns, memorized, table, pictures = found.columns, found.memorized, None, found.shown
        if memorized is not None:
            against = {"baseline": found.baseline, "groups": found.groups}
            table = detection.evaluate(key, columns, memorized, **against, **options)
        run.record.folder.mkdir(parents=True, exist_ok=True)
        suspects.write(run.record.folder / "scores.csv", columns, found.names, memorized, found.rank_by)
    else:
        saved = demo.activations(config.seed) if config.activations == DEMO else read_activations(config.activations)
        memorized, table = saved.memorized, _table(key, saved, config, **options)
        columns = list(table.columns)
    labels = np.full(columns[0].scores.size, -1) if memorized is None else memorized.astype(int)
    result = pictures.assign(
        {
            "score": (("column", "sample"), np.stack([column.scores for column in columns])),
            "memorized": ("sample", labels),
        }
    ).assign_coords(column=[column.name for column in columns])
    if table is None:
        return result
    lines = xr.Dataset(
        {name: ("line", values) for name, values in table.arrays().items()},
        coords={"line": [row.name for row in table.rows]},
    )
    counts = {"fitted_on": table.fitted_on, "reported_on": table.reported_on}
    words = {"table": str(table), "verdict": table.verdict()}
    return result.merge(lines).assign_attrs(fpr=config.fpr, **words, **counts)


def _table(key: Array, saved: Activations, config: Config, **options: Any) -> detection.ScoreTable:
    return detection.score_table(
        key,
        saved.layers,
        saved.memorized,
        inputs=saved.inputs,
        denoised=saved.denoised,
        pooling=pooled(config.pooling, config.channel_axis),
        **options,
    )


def judge(scored: xr.Dataset) -> list[compare.Row]:
    """The scores together, fitted on one half and reported on the other, beside the trivial controls of the inputs;
    where there is a baseline, what they gain on it, by intervals that hold for all rows together.
    """
    rows = []
    for name in scored["line"].values if "line" in scored.dims else ():
        if str(name) != "combined" and not str(name).startswith(CONTROLS):
            continue
        at, words = scored.sel(line=name), f"{str(name).replace('_', ' ')}, a control"
        words = "all scores combined" if name == "combined" else words
        ends = (float(at[f"auroc_delong_{end}"]) for end in ("low", "high"))
        rows.append(compare.interval(f"AUROC of {words}", "Table 1", float(at["auroc"]), *ends))
        if "difference" in at:
            ends = (float(at[f"difference_simultaneous_{end}"]) for end in ("low", "high"))
            rows.append(compare.interval(f"gain on the baseline: {words}", "Table 1", float(at["difference"]), *ends))
    return rows


def describe(scored: xr.Dataset) -> str:
    """The table; without labels, where the scores lie."""
    if "line" not in scored.dims:
        rows = [
            [name, *(f"{value:.4g}" for value in np.nanquantile(scores, [0, 0.5, 1])), int(np.nanargmax(scores))]
            for name, scores in zip(scored["column"].values, scored["score"].values, strict=True)
        ]
        return launch.table(rows, ["score", "lowest", "median", "highest", "of sample"])
    values = {name: scored[name].values for name in scored if scored[name].dims == ("line",)}
    (fit, fit_others), (report, report_others) = scored.attrs["fitted_on"], scored.attrs["reported_on"]
    words = (
        f"* a control. Thresholds fitted at FPR {scored.attrs['fpr']:g} on {fit} memorized and {fit_others} other"
        f" samples, reported on {report} and {report_others}"
    )
    verdict = [launch.wrap(scored.attrs["verdict"])] if "verdict" in scored.attrs else []
    shown = worth_printing(scored["line"].values, values, MOST)
    rest = scored.sizes["line"] - len(shown)
    lines = score_lines(scored["line"].values[shown], {name: column[shown] for name, column in values.items()})
    more = [launch.wrap(f"{rest} rows with lower ones are in the record")] if rest else []
    return "\n".join([lines, *more, launch.wrap(words), *verdict])


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)

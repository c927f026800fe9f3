"""Who carries an image in the noise-conditional nets: the published ReLU net and a small diffusion transformer."""

from typing import Any

import jax
import numpy as np
import xarray as xr

from dae_theory import compare
from dae_theory.randomness import derive
from sims import launch
from sims.measures import carried
from sims.nets.images import deep_net, image_set, relu_net

COUNTS = (1, 4, 16)  # neurons that are silenced at once
BATCH = 64


def measured(config: Any, run: launch.Run) -> xr.Dataset:
    """Both nets trained and measured, along `place`, one a layer of hidden neurons; dimensions and names of their own.

    Args:
        config: as `sims.knock_out` has it.
        run: the launched run.
    """
    root = derive(jax.random.key(config.seed), "images")
    images = image_set(
        derive(root, "set"),
        config.pictures.load(center=True),
        duplicates=config.image_duplicates,
        copies=config.image_copies,
        once=config.once,
        fresh=config.fresh,
    )
    relu = relu_net(
        derive(root, "relu"), images, run, width=config.image_width, steps=config.image_steps, batch_size=BATCH
    )
    deep = deep_net(
        derive(root, "deep"),
        images,
        run,
        patch=config.patch,
        width=config.deep_width,
        depth=config.depth,
        steps=config.deep_steps,
        batch_size=BATCH,
    )
    kinds = {"duplicated": images.copies > 1, "once": images.copies == 1, "fresh": images.copies == 0}
    x = {kind: images.x[np.flatnonzero(chosen)[:100]] for kind, chosen in kinds.items()}
    how = carried.Measures(config.image_noise_std, config.draws, config.image_duplicates, COUNTS, (0.5,))
    sets = []
    for name, network in (("ReLU net", relu), ("transformer", deep)):
        found = carried.network_measures(derive(root, "measure"), network, x, how)
        names = [name if layer == "hidden" else f"{name}, {layer.split('.')[0]}" for layer in found["layer"].values]
        sets.append(found.assign_coords(layer=[word.replace("block", "block ") for word in names]))
    data = xr.concat(sets, "layer").rename(layer="place", kind="seen", share="part")
    return data.rename({name: f"image_{name}" for name in data.data_vars})


def rows(data: xr.Dataset) -> list[compare.Row]:
    """In the nets on images, layer by layer: who carries what, and does the scale-free score see it."""
    found = []
    for place in map(str, data["place"].values):
        at = data.sel(place=place)
        for kind, words in (("duplicated", "a duplicated image"), ("once", "an image seen once")):
            for count in (COUNTS[0], COUNTS[-1]):
                share = float(at["image_carried"].sel(seen=kind, count=count))
                low, high = at["image_carried_ends"].sel(seen=kind, count=count).values
                neurons = "its most active neuron carries" if count == 1 else f"its {count} most active neurons carry"
                claim = f"{place}: of what the layer holds of {words}, {neurons}"
                found.append(
                    compare.interval(claim, "L₀ − L₁", share, low, high, unknown="it may hold nothing of them")
                )
        for score, words in (("gini", "Gini"), ("std", "the std")):
            area = float(at["image_auroc"].sel(score=score))
            found.append(compare.number(f"{place}: AUROC of {words}, duplicated against once", "Table 1", area))
    return found

"""Single-step denoising of training and of held-out images by nets on few and on many, beside f_emp and f_gt.

PSNR = 10 log₁₀(peak²/MSE) with peak 2, the range [−1, 1] of the images; with peak 1 every number is 6.02 dB lower. The
reference f_emp (3) holds the net's own training samples, f_gt is the posterior mean under Gaussians fitted to the pool.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, noise, theory
from dae_theory.model import Weights, denoise
from dae_theory.randomness import derive
from sims import launch
from sims.nets import few_and_many
from sims.nets.side_by_side import one


@dataclass(frozen=True)
class Config(few_and_many.PairConfig):
    """Train nets on few and on many images and measure how well they denoise images seen and not seen."""

    points: int = 200
    """Noisy images behind every mean."""


SMOKE = few_and_many.SMOKE | {"points": 20}
resolve = few_and_many.resolve
PEAK = 2.0
DENOISERS = ("net, few", "net, many", "f_emp, few", "f_emp, many", "f_gt", "noisy")
IMAGES = ("the few", "the many", "held out")


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """PSNR of every denoiser on every kind of image, and one example of each."""
    run.expect(2 * config.seeds, 2 * config.seeds * config.training.steps)
    (pair,) = few_and_many.of_images(config, config.points, (False,))
    (nets,) = few_and_many.train_pair(config, run, [pair])
    shape = (len(IMAGES), len(DENOISERS), config.seeds)
    ratio, spread = np.zeros(shape), np.zeros(shape)
    pictures = []
    for kind, clean in enumerate((pair.few, pair.many, pair.fresh)):
        for seed in range(config.seeds):
            x = clean[jnp.linspace(0, len(clean) - 1, config.points).astype(int)]
            y = noise.corrupt(derive(jax.random.key(config.seed), "evaluation", kind, seed), x, config.noise_std)
            outputs = _denoised(pair, {regime: one(nets[regime], seed) for regime in nets}, y, config.noise_std)
            values = np.asarray([_psnr(output, x) for output in outputs])
            ratio[kind, :, seed], spread[kind, :, seed] = values.mean(axis=1), values.std(axis=1)
            if seed == 0:
                pictures.append(np.stack([x[0], *(output[0] for output in outputs)]))
    quantized = np.round(100 * np.stack(pictures)).clip(-127, 127).astype(np.int8)
    dataset = xr.Dataset(
        {
            "psnr": (("images", "denoiser", "seed"), ratio),
            "spread": (("images", "denoiser", "seed"), spread),
            "picture": (("images", "shown", "pixel"), quantized),
        },
        coords={
            "images": list(IMAGES),
            "denoiser": list(DENOISERS),
            "seed": np.arange(config.seeds),
            "shown": ["clean", *DENOISERS],
        },
    )
    return dataset.assign_attrs(
        peak=PEAK,
        noise_std=config.noise_std,
        few=len(pair.few),
        many=len(pair.many),
        side=pair.side,
        name=config.pictures.images.split(":")[0],
        width=config.width,
        points=config.points,
        held_out=len(pair.fresh),
    )


def _denoised(pair: few_and_many.SamplePair, nets: dict[str, Weights], y: Array, noise_std: float) -> list[Array]:
    """Outputs in the order of DENOISERS."""
    return [
        denoise(nets["few"], y),
        denoise(nets["many"], y),
        theory.empirical_denoiser(pair.few, noise_std)(y),
        theory.empirical_denoiser(pair.many, noise_std)(y),
        theory.mixture_denoiser(pair.truth, noise_std, orthogonal=True)(y),
        y,
    ]


def _psnr(output: Any, x: Any) -> np.ndarray:
    """PSNR of every image in dB."""
    return 10 * np.log10(PEAK**2 / np.maximum(np.mean((np.asarray(output) - np.asarray(x)) ** 2, axis=1), 1e-10))


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Nets beside their reference, and few beside many on held-out images."""
    psnr = data["psnr"]
    on_few, on_many, held_out = (psnr.sel(images=name) for name in IMAGES)
    reference = {name: float(held_out.sel(denoiser=name).mean()) for name in ("net, few", "noisy", "f_gt")}
    many = held_out.sel(denoiser="net, many")
    return [
        compare.mean(
            "net on few, its own images, dB below f_emp",
            "(3)",
            on_few.sel(denoiser="f_emp, few") - on_few.sel(denoiser="net, few"),
        ),
        compare.mean(
            "net on few, held-out images, dB: below the noisy image",
            "(3)",
            held_out.sel(denoiser="net, few"),
            reference["noisy"],
            relation="≤",
        ),
        compare.mean(
            "net on many, held-out images, dB: above the net on few",
            "Cor. 3.3",
            many,
            reference["net, few"],
            relation="≥",
        ),
        compare.mean("net on many, held-out images, dB below f_gt", "Cor. 3.3", reference["f_gt"] - many),
        compare.mean(
            "net on many, dB between its own and held-out images",
            "Cor. 3.3",
            on_many.sel(denoiser="net, many") - many,
        ),
    ]


def describe(data: xr.Dataset) -> str:
    """PSNR, mean ± SEM over seeds."""
    rows = []
    for denoiser in data["denoiser"].values:
        cells = []
        for images in data["images"].values:
            values = data["psnr"].sel(denoiser=denoiser, images=images)
            cells.append(f"{float(values.mean()):.2f} ± {float(values.std(ddof=1) / np.sqrt(values.size)):.2f}")
        rows.append([str(denoiser), *cells])
    given = data.attrs
    words = (
        f"PSNR in dB at σ = {given['noise_std']:g}, peak {given['peak']:g}, {given['name']} {given['side']}×"
        f"{given['side']}, p = {given['width']}, n = {given['few']} and {given['many']}, {given['held_out']} held"
        f" out, mean ± SEM over {data.sizes['seed']} seeds"
    )
    return "\n".join([launch.wrap(words), launch.table(rows, ["denoiser", *data["images"].values])])


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)

"""What scoring a torch module costs beyond its forward passes: a program of its own, since tests check types.

python tests/scoring_cost.py [CHANNELS DEPTH] [--wall] takes turns between bare passes of a convolutional net and
`module_columns`, and prints milliseconds an image and the median of the ratios with its interval by order (at least
95 %): in processor seconds of one thread, which the load of others hardly moves, or with --wall in seconds on the
clock, with all of torch's threads. With glibc memory is kept between calls (it starts itself again to say so), since
the system's giving of it costs a third of such passes, now more, now less.
"""

import os
import sys
import time

import numpy as np
import scipy.stats
import torch

from dae_theory.adapters import torch as adapter

PAIRS, IMAGES, BATCH = 7, 128, 16
KEPT = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296"}


def net(channels: int, depth: int) -> torch.nn.Module:
    """Convolutions of 32 × 32 images in three colours."""
    layers = [torch.nn.Conv2d(3, channels, 3, padding=1), torch.nn.ReLU()]
    for _ in range(depth):
        layers += [torch.nn.Conv2d(channels, channels, 3, padding=1), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Conv2d(channels, 3, 3, padding=1))


def measured(model: torch.nn.Module, clock) -> tuple[float, float, float, float]:
    """Milliseconds an image of bare passes, and how many times as long scoring takes, with the ends of its interval."""
    images = np.random.default_rng(0).standard_normal((IMAGES, 3, 32, 32)).astype(np.float32)

    def passes():
        with torch.no_grad():
            for start in range(0, IMAGES, BATCH):
                model(torch.from_numpy(images[start : start + BATCH]))

    def scoring():
        adapter.module_columns(model, images, noise_std=0.1, batch_size=BATCH)

    def seconds(call):
        began = clock()
        call()
        return clock() - began

    passes(), scoring()
    pairs = [(seconds(passes), seconds(scoring)) for _ in range(PAIRS)]
    ratios = np.sort([scored / bare for bare, scored in pairs])
    outside = int(scipy.stats.binom.ppf(0.025, PAIRS, 0.5))
    alone = 1e3 * np.median([bare for bare, _ in pairs]) / IMAGES
    return float(alone), float(np.median(ratios)), float(ratios[outside - 1]), float(ratios[PAIRS - outside])


def main(sizes: list[str], wall: bool) -> None:
    """Milliseconds an image, ratio, low, high."""
    torch.manual_seed(0)
    if not wall:
        torch.set_num_threads(1)
    model = net(*(int(size) for size in sizes or ("80", "5")))
    print(*(f"{number:.4f}" for number in measured(model, time.perf_counter if wall else time.process_time)))


if __name__ == "__main__":
    if any(name not in os.environ for name in KEPT):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEPT)
    main([word for word in sys.argv[1:] if word != "--wall"], "--wall" in sys.argv[1:])

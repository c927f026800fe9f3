"""The hashed generator under dieharder, where that is installed (a Debian package): by counter, by key, by step.

Eighteen of its tests at full length, one of them by counter alone, once gave 145 p-values from 0.006 to 0.9987 on
streams of another seed; here are some that take seconds.
"""

import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from sims.benchmarks.stream import BLOCK, KEYS, blocks

ROOT = Path(__file__).parent.parent
CHECKS = ((0, 0), (10, 0), (15, 0), (100, 0), (101, 0), (203, 1))  # number in dieharder, and its n


def test_orders_are_of_one_generator():
    """By counter and by key the same words, other ways round: keys are told apart, rows are rows of one key."""
    counter, key = (next(blocks(order)) for order in ("counter", "key"))
    assert counter.shape == key.shape == (BLOCK,)
    assert counter.dtype == np.uint32
    by_key = key.reshape(-1, KEYS)
    assert len(np.unique(by_key[0])) > KEYS - 10  # 4096 of 2³² words meet 0.002 times
    assert len(np.unique(by_key[:, 0])) == len(by_key)  # one key permutes the counters
    first, second = islice(blocks("counter"), 2)
    assert not np.array_equal(first, second)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("dieharder") is None, reason="dieharder is not installed")
@pytest.mark.parametrize("order", ["counter", "key", "training"])
def test_dieharder(order):
    """Every p-value above 1e-6: of 18 tests one in 50,000 runs would have a smaller one by chance."""
    for number, ntup in CHECKS:
        stream = subprocess.Popen(
            [sys.executable, "-m", "sims.benchmarks.stream", "--order", order, "--seed", "2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        battery = ["dieharder", "-g", "200", "-d", str(number), "-n", str(ntup), "-p", "20", "-D", "pvalues", "-c", "|"]
        done = subprocess.run(battery, stdin=stream.stdout, capture_output=True, text=True, check=True)
        stream.kill()
        stream.communicate()
        values = [float(line) for line in done.stdout.split() if line.replace(".", "").isdigit()]
        assert values, done.stdout
        assert min(values) > 1e-6, (number, values)

"""Many members and many devices: time and memory of ensembles with d = p = n = 16, each in a process of its own.

*Members*: 1,000, 10,000 and 100,000 of them on one machine, chunks on disk, the result written as one record and read
back lazily. *Devices*: as many members a device on 1, 2, 4 and 8 simulated devices; where devices are more than cores,
time grows in proportion, and what is measured is what splitting adds to that.
"""

import json
import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import xarray as xr

from dae_theory import compare
from sims.benchmarks import apart, turns
from sims.launch.terminal import table

SIZE = 16  # d = p = n
GIB = 4.0


def measure(smoke: bool, rounds: int, clock: turns.Clock) -> xr.Dataset:
    """Seconds, memory and files against members, and seconds against devices."""
    counts = (50, 100) if smoke else (1_000, 10_000, 100_000)
    devices = (1, 2) if smoke else (1, 2, 4, 8)
    steps, each = (20, 16) if smoke else (50, 200)
    cores = len(os.sched_getaffinity(0))
    apart_ = "sims.benchmarks.members"
    by_members = [apart.told(apart_, {"members": n, "steps": steps, "devices": cores, "clock": clock}) for n in counts]
    by_devices = []
    for _ in range(1 if smoke else min(rounds, 3)):
        runs = [{"members": each * n, "chunk": each * n, "steps": 10 * steps, "devices": n} for n in devices]
        by_devices.append([apart.told(apart_, {**given, "clock": clock}) for given in runs])
    data = {
        f"members_{name}": ("members", [one[name] for one in by_members])
        for name in ("seconds", "compiling", "resident", "before", "chunks", "file", "opening")
    }
    seconds = np.asarray([[one["seconds"] for one in turn] for turn in by_devices])
    fair = [float(n) if clock == "processor" else max(1.0, n / cores) for n in devices]
    return xr.Dataset(
        {**data, "devices_seconds": (("turn", "devices"), seconds), "devices_fair": ("devices", fair)},
        {"members": list(counts), "devices": list(devices)},
        {"devices_cores": cores},
    )


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Time linear, memory bounded and flat, files complete; and what many devices add."""
    few, most = (data.isel(members=i) for i in (-2, -1))
    label = f"{int(few['members']):,} and {int(most['members']):,} members, d = p = n = {SIZE}"
    per_member = [float(at["members_seconds"] / at["members"]) for at in (few, most)]
    growth = float(most["members_resident"] - few["members_resident"]) * 1024
    result = float(most["members_file"] - few["members_file"])
    rows = [
        compare.number("time a member, most over fewer", label, per_member[1] / per_member[0], 1.0, tolerance=0.1),
        compare.number("resident memory at its height, GiB", label, float(most["members_resident"]), GIB, relation="≤"),
        compare.number("memory that more members take, over their results'", label, growth / result),
        compare.number("seconds until the record is open and one member read", label, float(most["members_opening"])),
    ]
    cores = int(data.attrs["devices_cores"])
    seconds = data["devices_seconds"].median("turn")
    for devices in data["devices"].values[1:]:
        fair = float(seconds.sel(devices=1)) * float(data["devices_fair"].sel(devices=devices))
        claim = (
            f"time on {devices} devices, {devices} times the members, over that on 1 device and its share of the work"
        )
        rows.append(compare.number(claim, f"{cores} cores", float(seconds.sel(devices=devices)) / fair))
    return rows


def describe(data: xr.Dataset) -> str:
    """Both tables."""
    rows = [
        [
            f"{int(at['members']):,}",
            f"{float(at['members_seconds']):.1f}",
            f"{float(at['members_compiling']):.1f}",
            f"{float(at['members_before']):.2f}",
            f"{float(at['members_resident']):.2f}",
            int(at["members_chunks"]),
            f"{float(at['members_file']):.1f}",
        ]
        for at in (data.isel(members=i) for i in range(data.sizes["members"]))
    ]
    header = ["members", "seconds", "compiling", "GiB before", "GiB at most", "chunks on disk", "MiB of the record"]
    seconds = data["devices_seconds"].median("turn")
    scaling = [[int(n), f"{float(seconds.sel(devices=n)):.1f}"] for n in data["devices"].values]
    return "\n".join([table(rows, header), "", table(scaling, ["devices, as many members each", "seconds"])])


class _Height:
    """The largest resident memory since it was made, in GiB, looked at ten times a second."""

    def __init__(self):
        self.most, self._done = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self.most = max(self.most, resident())

    def close(self) -> float:
        """Stop looking."""
        self._done.set()
        self._thread.join()
        return max(self.most, resident())


def resident() -> float:
    """Memory of this process now, in GiB; its height so far where the system does not tell."""
    status = Path("/proc/self/statm")
    if status.is_file():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 1024**3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 ** (3 if sys.platform == "darwin" else 2)


def main(arguments: str) -> None:
    """Train one ensemble, keep its chunks and its record in a temporary folder; prints seconds and sizes as JSON."""
    import jax
    import jax.numpy as jnp

    given = json.loads(arguments)
    jax.config.update("jax_num_cpu_devices", given["devices"])
    from dae_theory import ensemble, records
    from dae_theory.randomness import derive
    from dae_theory.training import Settings, train

    settings = Settings(steps=given["steps"], width=SIZE, hashed_noise=True)
    x = jax.random.normal(jax.random.key(0), (SIZE, SIZE), jnp.float32)

    def member(identity, x):
        trained = train(derive(jax.random.key(1), "member", identity), x, settings)
        return {"loss": trained.history.loss[-1], "encoder": trained.weights.encoder}

    identities = np.arange(given["members"])
    with tempfile.TemporaryDirectory() as folder:
        record = records.Record(Path(folder), "members", given)
        before, height = resident(), _Height()
        started = time.perf_counter()
        store = record.chunks("nets")
        options = {"chunk": given.get("chunk", 1000), "store": store}
        prepared = ensemble.prepare(member, identities, x, **options)
        prepared._planning.result()
        compiled, clock = time.perf_counter(), turns.NOW[given["clock"]]
        began = clock()
        result = prepared.result()
        seconds = clock() - began
        chunks = len(store.spans())
        encoder = ("member", "d", "p"), np.asarray(result["encoder"])
        data = xr.Dataset({"loss": ("member", np.asarray(result["loss"])), "encoder": encoder})
        record.write(data, wall_seconds=seconds)
        most = height.close()
        file = record.folder / "data.nc"
        opened = time.perf_counter()
        with xr.open_dataset(file, engine="h5netcdf") as lazy:
            float(lazy["encoder"][len(identities) // 2].sum())
        told = {"seconds": seconds, "compiling": compiled - started, "resident": most, "before": before}
        told |= {"chunks": chunks, "file": file.stat().st_size / 1024**2, "opening": time.perf_counter() - opened}
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])

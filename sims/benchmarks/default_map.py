"""The default phase diagram from its command's start to its record, compilation apart; then the same shapes again.

Each run is a process of its own. The first finds no compiled programs, the second has those of the first and other
data; the third draws its noise with the hashed generator.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from dae_theory import compare
from sims.benchmarks import apart
from sims.launch.terminal import table

COLD, WARM, THREEFRY = "first start", "other data, programs kept", "first start, threefry noise"
SECONDS = {
    "seconds": "seconds",
    "processor": "of all processors",
    "compiling": "compiling",
    "tracing": "tracing",
    "start": "until training starts",
    "first_progress": "until the first nets",
}
FIRST, AGAIN = 15.0, 5.0  # seconds until the first nets are trained; until training starts, where programs are kept


def measure(smoke: bool) -> xr.Dataset:
    """Seconds of three runs."""
    few = ["--smoke"] if smoke else []
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        runs = {
            COLD: (few, "kept"),
            WARM: ([*few, "--seed", "1"], "kept"),
            THREEFRY: ([*few, "--generator", "threefry"], "other"),
        }
        told = {}
        for name, (options, kept) in runs.items():
            arguments = {"options": [*options, "--no-figure", "--out", str(where / name)], "started": time.time()}
            cache = {"JAX_COMPILATION_CACHE_DIR": str(where / kept), "JAX_ENABLE_COMPILATION_CACHE": "true"}
            told[name] = apart.told("sims.benchmarks.default_map", arguments, cache)
    return xr.Dataset(
        {f"map_{what}": ("start", [one[what] for one in told.values()]) for what in (*SECONDS, "programs", "models")},
        {"start": list(told)},
    )


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Shares of the whole, and the time until something is trained."""
    rows = []
    for start in data["start"].values:
        at = data.sel(start=start)
        share = float((at["map_compiling"] + at["map_tracing"]) / at["map_seconds"])
        rows.append(compare.number(f"{start}: compiling and tracing over the whole", "default map", share))
        until, limit, what = (
            ("start", AGAIN, "training starts")
            if start == WARM
            else ("first_progress", FIRST, "the first nets are trained")
        )
        claim = f"{start}: seconds until {what}"
        rows.append(compare.number(claim, "default map", float(at[f"map_{until}"]), limit, relation="≤"))
    ratio = float(data["map_processor"].sel(start=COLD) / data["map_processor"].sel(start=THREEFRY))
    claim = "processor time over that with threefry noise"
    return [*rows, compare.number(claim, "default map", ratio)]


def describe(data: xr.Dataset) -> str:
    """Seconds of all parts; compiling goes on while nets train."""
    rows = [
        [start, *(f"{float(data.sel(start=start)[f'map_{what}']):.1f}" for what in SECONDS), int(programs)]
        for start, programs in zip(data["start"].values, data["map_programs"].values, strict=True)
    ]
    return table(rows, ["default map", *SECONDS.values(), "programs"])


def main(arguments: str) -> None:
    """One run of the phase diagram; prints its times as JSON."""
    from dae_theory.ensemble import lifting
    from sims import launch, phase_diagram
    from sims.launch import run

    asked = json.loads(arguments)
    spent = {"backend_compile_duration": 0.0, "jaxpr_trace_duration": 0.0, "jaxpr_to_mlir_module_duration": 0.0}
    programs, begun = [0], {"start": float("nan"), "first_progress": float("nan")}

    def happened(what: str) -> None:
        if np.isnan(begun[what]):
            begun[what] = time.time() - asked["started"]

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        name = event.rsplit("/", 1)[-1]
        if name in spent:
            spent[name] += duration_secs
            programs[0] += name == "backend_compile_duration"

    advance = run.Run.advance

    def watched(self: run.Run, models: float = 1) -> None:
        if models:
            happened("first_progress")
        advance(self, models)

    call = lifting.Lifted.__call__

    def trains(self: lifting.Lifted, start: int, stop: int, given: Sequence[np.ndarray] = ()) -> list[np.ndarray]:
        self.compile()
        happened("start")
        return call(self, start, stop, given)

    run.Run.advance, lifting.Lifted.__call__ = watched, trains
    jax.monitoring.register_event_duration_secs_listener(listen)
    data = launch.main(phase_diagram.SIM, asked["options"]).read()
    compiling = spent.pop("backend_compile_duration")
    seconds = time.time() - asked["started"]
    models = int(data["train_index"].size)
    told = {
        "seconds": seconds,
        "processor": time.process_time(),
        "compiling": compiling,
        "tracing": sum(spent.values()),
    }
    print(json.dumps(told | begun | {"programs": programs[0], "models": models}))


if __name__ == "__main__":
    main(sys.argv[1])

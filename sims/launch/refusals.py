"""Refusals of where and how to run, before anything is computed."""

from dae_theory.checks import Refusal
from sims.launch import cluster, processes
from sims.launch.options import Launch


def validate(launch: Launch) -> None:
    """Raises ValueError for an option of the launch that cannot be."""
    for option, value in (
        ("--devices", launch.devices),
        ("--chunk", launch.chunk),
        ("--workers", launch.workers),
        ("--slurm", launch.slurm),
    ):
        if value is not None and value < 1:
            raise Refusal(f"{option} must be at least 1; got {value}")
    if not launch.memory_gib > 0:
        raise Refusal(f"--memory-gib must be above 0; got {launch.memory_gib}")
    if not launch.patience > 0:
        raise Refusal(f"--patience must be above 0; got {launch.patience}")
    engines = {"--workers": launch.workers, "--scheduler": launch.scheduler, "--slurm": launch.slurm}
    given = [option for option, value in engines.items() if value is not None]
    if launch.distributed or launch.coordinator is not None:
        given.append("--distributed" if launch.distributed else "--coordinator")
    if len(given) > 1:
        raise Refusal(f"{given[0]} excludes {given[1]}: choose one way to share the work")
    processes.validate(launch)
    cluster.validate(launch)

"""Workers that chunks are given out to: processes of this machine, a running Dask cluster, or jobs of Slurm."""

import contextlib
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

from sims.launch.options import Launch


@contextlib.contextmanager
def executor(launch: Launch) -> Iterator[Executor | None]:
    """The executor that the options ask for, None without any; its workers end with it, those of --scheduler do not.

    Raises:
        ImportError: Dask is not installed.
        OSError: the scheduler does not answer.
    """
    if not wanted(launch):
        yield None
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ImportError("--workers, --scheduler and --slurm need Dask: pip install 'dae_theory[cluster]'") from error
    with contextlib.ExitStack() as held:
        if launch.scheduler is not None:
            cluster = launch.scheduler
        elif launch.slurm is not None:
            from dask_jobqueue.slurm import SLURMCluster

            # the rest stands in ~/.config/dask/jobqueue.yaml
            cluster: Any = held.enter_context(SLURMCluster(processes=1))
            cluster.scale(jobs=launch.slurm)
        else:
            cluster = held.enter_context(LocalCluster(launch.workers, threads_per_worker=1, dashboard_address=":0"))
        client = held.enter_context(Client(cluster, timeout=30))
        print(f"progress of the workers: {client.dashboard_link}", file=sys.stderr)
        yield client.get_executor()


def wanted(launch: Launch) -> bool:
    """Whether any option asks for workers."""
    return any(option is not None for option in (launch.workers, launch.scheduler, launch.slurm))

"""Workers that chunks are given out to: processes of this machine, a running Dask cluster, or jobs of Slurm.

`python -m sims.launch.cluster` prints the job script that --slurm submits.
"""

import contextlib
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

from dae_theory.checks import Refusal
from sims.launch.options import Launch

ANSWER = 10.0  # seconds that a scheduler may take to answer
SETTINGS = "~/.config/dask/jobqueue.yaml"


def validate(launch: Launch) -> None:
    """Raises ValueError for an address that is none, and for Slurm where there is none."""
    if launch.scheduler is not None and not re.fullmatch(r"(tcp|tls|ucx)://\S+:\d{1,5}", launch.scheduler):
        raise Refusal(f"--scheduler must be tcp://HOST:PORT; got {launch.scheduler!r}")
    if launch.slurm is not None and shutil.which("sbatch") is None:
        raise Refusal(
            f"--slurm {launch.slurm} needs the program sbatch, on a login node of a Slurm cluster; found none"
        )


@contextlib.contextmanager
def executor(launch: Launch) -> Iterator[Executor | None]:
    """The executor that the options ask for, None without any; its workers end with it, those of --scheduler do not.

    Raises:
        ValueError: Slurm's settings lack what a job gets.
        ImportError: Dask is not installed.
        OSError: the scheduler does not answer, or gets no workers.
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
            cluster, named = launch.scheduler, f"--scheduler {launch.scheduler}"
        elif launch.slurm is not None:
            cluster, named = held.enter_context(slurm_cluster()), f"--slurm {launch.slurm}"
            cluster.scale(jobs=launch.slurm)
        else:
            cluster = held.enter_context(LocalCluster(launch.workers, threads_per_worker=1, dashboard_address=":0"))
            named = f"--workers {launch.workers}"
        try:
            # not the default client: files are written here, under no lock of the cluster's
            client = held.enter_context(Client(cluster, timeout=ANSWER, set_as_default=False))
        except OSError as error:
            raise OSError(f"{named} did not answer within {ANSWER:g} s: is a scheduler running there?") from error
        print(f"progress of the workers: {client.dashboard_link}", file=sys.stderr)
        _await_worker(client, named, launch.patience)
        yield client.get_executor()


def wanted(launch: Launch) -> bool:
    """Whether any option asks for workers."""
    return any(option is not None for option in (launch.workers, launch.scheduler, launch.slurm))


def slurm_cluster() -> Any:
    """Slurm's jobs as workers of one process each, with this Python; all else stands in dask-jobqueue's settings.

    Raises:
        ValueError: the settings do not say how many cores and how much memory a job gets.
        ImportError: dask-jobqueue is not installed.
    """
    try:
        import dask.config
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError as error:
        raise ImportError("--slurm needs dask-jobqueue: pip install 'dae_theory[cluster]'") from error
    for name in ("cores", "memory"):
        if dask.config.get(f"jobqueue.slurm.{name}", None) is None:
            raise Refusal(f"--slurm needs jobqueue: slurm: {name}: in {SETTINGS}, what one job gets; found none there")
    return SLURMCluster(processes=1, python=sys.executable)


def _await_worker(client: Any, named: str, patience: float) -> None:
    """Until a first worker is there."""
    from distributed import TimeoutError as Late

    if not client.scheduler_info()["workers"]:
        print(f"{named}: no worker yet, waiting for the first", file=sys.stderr)
        try:
            client.wait_for_workers(1, timeout=patience)
        except (Late, TimeoutError) as error:
            raise OSError(f"{named} had no worker within --patience {patience:g} s") from error


def main() -> None:
    """Print what is submitted for one worker."""
    try:
        with slurm_cluster() as cluster:
            print(cluster.job_script())
    except (Refusal, ImportError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

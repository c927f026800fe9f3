"""A measurement in a process of its own, which starts cold and whose memory is nobody else's."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


def told(module: str, arguments: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What `python -m MODULE JSON` prints as its last line, JSON too.

    Raises:
        RuntimeError: the process failed; its last words are in the message.
    """
    command = [sys.executable, "-m", module, json.dumps(dict(arguments))]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{module} ended with status {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])

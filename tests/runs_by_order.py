"""Runs of `sims.finite_size`, forked from this process as lines of JSON on its input order, killed as they say.

A child that dies at its n-th write does so when the partial file is on disk and has no name yet.
"""

import json
import os
import pathlib
import sys
import time
import traceback

from sims import finite_size, launch


def write_fails(order):
    """The n-th write raises the order's error, or the process is killed by its signal."""
    real, left = os.fsync, [order["at_write"]]

    def fsync(number):
        real(number)
        left[0] -= 1
        if left[0] == 0:
            if order.get("error"):
                raise OSError(order["error"], os.strerror(order["error"]))
            os.kill(os.getpid(), order["signal"])

    os.fsync = fsync


def child(order):
    """One run; ends with its status."""
    out = os.open(order["says"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    code = 99
    try:
        if order.get("at_write"):
            write_fails(order)
        launch.main(finite_size.SIM, order["arguments"])
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def chunks(out):
    """How many are on disk."""
    try:
        return len(list(pathlib.Path(out).rglob("*.npz")))
    except FileNotFoundError:  # the folder of chunks goes when the record is whole
        return 0


for line in sys.stdin:
    orders, began = json.loads(line), time.monotonic()
    running = []
    for order in orders:
        pid = os.fork()
        if pid == 0:
            child(order)
        running.append(pid)
    if orders[0].get("delay") is not None:
        time.sleep(orders[0]["delay"])
        os.kill(running[0], orders[0]["signal"])
    ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while orders[0].get("after_chunks") is not None and os.waitid(os.P_PID, running[0], ended) is None:
        if chunks(orders[0]["arguments"][-1]) >= orders[0]["after_chunks"]:
            time.sleep(orders[0].get("then", 0))
            os.kill(running[0], orders[0]["signal"])
            break
        time.sleep(0.01)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in running]
    print(json.dumps({"codes": codes, "seconds": time.monotonic() - began}), flush=True)

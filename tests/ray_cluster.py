"""A Ray cluster of one or two nodes on this machine, which talks to nobody else."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

# Not 127.0.0.1: Ray puts the machine's outer address in its place. The whole of 127/8 is this machine.
NODES = ("127.0.0.2", "127.0.0.3")
PATIENCE_S = 90.0


@contextlib.contextmanager
def serve(folder: Path, gpus: int = 0, nodes: int = 2) -> Iterator[str]:
    """Address of a cluster with two CPUs, on as many nodes; `folder` gets the logs of `ray start`.

    `gpus`: that the second node says it has, beside the CPU.
    """
    with socket.create_server((NODES[0], 0)) as free:
        address = f"{NODES[0]}:{free.getsockname()[1]}"
    # Short, for the sockets of Ray lie below it and a path of theirs may have 107 characters.
    place = Path(f"/tmp/assay-ray-{os.getpid()}")
    head = [
        "--head",
        f"--num-cpus={3 - nodes}",
        f"--port={address.rpartition(':')[2]}",
        "--include-dashboard=false",
        f"--temp-dir={place}",
    ]
    started: list[subprocess.Popen[bytes]] = []
    try:
        rest = [f"--address={address}", "--num-cpus=1", f"--num-gpus={gpus}"]
        for ip, arguments in ((NODES[0], head), (NODES[1], rest))[:nodes]:
            log = folder / f"{ip}.log"
            with log.open("wb") as output:
                started.append(_start(ip, arguments, output.fileno()))
            _wait(started[-1], log)
        yield address
    finally:
        _end(started)
        subprocess.run(["rm", "-rf", str(place)], check=False)


def _start(ip: str, arguments: list[str], output: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={ip}",
            "--object-store-memory=200000000", "--disable-usage-stats", "--min-worker-port=0", "--max-worker-port=0",
            *arguments,
        ],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": ""}, stdin=subprocess.DEVNULL,
        stdout=output, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _wait(node: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while "Ray runtime started" not in (said := log.read_text(errors="replace")):
        if node.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"ray start did not come up; it said:\n{said[-2000:]}")
        time.sleep(0.1)


def _end(nodes: "list[subprocess.Popen[bytes]]") -> None:
    """Everything the nodes started, at once: asked politely they drain for half a minute."""
    started = [psutil.Process(n.pid) for n in nodes if n.poll() is None]
    every = [*started, *(p for one in started for p in one.children(recursive=True))]
    for process in every:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    for node in nodes:
        node.wait(10)

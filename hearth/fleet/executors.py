"""Where slices run: on this machine, or on the workers of a Dask cluster. Both are ``concurrent.futures`` executors."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from hearth.fleet.errors import RunError

# A worker that dies hands its slice to another one; a slice that kills worker after worker is given up.
WORKER_DEATHS = 3
CONNECT_S = 10


class SchedulerError(RunError):
    """The Dask cluster cannot be used; the message says why and what to do."""


def check_scheduler(address: str) -> None:
    """Refuse a scheduler that others could send work to. Raises SchedulerError.

    Whoever can talk to a Dask scheduler runs code on its workers, so between machines it must be TLS with certificates
    on both sides; without it only on this machine.
    """
    parts = urlsplit(address)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in ("tls", "tcp") or not host or not port:
        raise SchedulerError(f"--scheduler {address} is no scheduler: write it as tls://HOST:PORT")
    if parts.scheme == "tcp" and not _is_loopback(host):
        raise SchedulerError(
            f"--scheduler {address} is not encrypted, and whoever reaches it can do what you can: use tls://, "
            "with the certificates named in Dask's settings (docs/fleet.md)"
        )


@dataclass(frozen=True)
class Pool:
    """An executor, and how many slices it works on at once."""

    executor: Executor
    at_once: int


@contextmanager
def pool(scheduler: str | None, at_once: int) -> Iterator[Pool]:
    """Where slices run: ``at_once`` at a time on this machine, or on a cluster as many as its workers have threads.

    Raises SchedulerError when the cluster cannot be reached, or has no workers.
    """
    if scheduler is None:
        # Threads, since each only waits for the process of its slice.
        with ThreadPoolExecutor(at_once, thread_name_prefix="slice") as threads:
            yield Pool(threads, at_once)
        return
    check_scheduler(scheduler)
    client = _client(scheduler)
    try:
        threads_there = sum(client.nthreads().values())
        if not threads_there:
            raise SchedulerError(f"the scheduler {scheduler} has no workers: start some (docs/fleet.md)")
        cluster = client.get_executor(pure=False, retries=WORKER_DEATHS)
        try:
            yield Pool(cluster, threads_there)
        finally:
            cluster.shutdown(wait=False)
    finally:
        client.close()


def _client(scheduler: str) -> Any:
    try:
        from distributed import Client  # noqa: PLC0415 (an extra, and half a second)
    except ImportError as fault:
        raise SchedulerError("--scheduler needs Dask: pip install 'hearth[dask]'") from fault
    try:
        return Client(scheduler, timeout=CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError, RuntimeError) as fault:
        raise SchedulerError(f"the scheduler {scheduler} cannot be reached: {fault}") from fault


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""The copies of an engine under Ray Serve: who is asked, how many there are, and all of them on this machine."""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agvas_core.engines.registry import is_engine, list_engines, load_engine
from agvas_core.engines.remote import AT_ONCE
from agvas_core.replicas.replica import Replica

# The image's id is the session: it goes to one copy as long as that lives, and only a dead one's images move.
ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
APP = "agvas"
LOCAL = "127.0.0.1"
ONGOING = 2  # replies at a copy at which autoscaling adds one: one computes, one is on its way
STORE_BYTES = 256 * 2**20
# Read by Ray when it is imported: no statistics leave the machine, its ports are those of a single machine (127.0.0.1),
# and whoever speaks to them needs this process's token.
CLOSED = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
}


class EngineReplica:
    """What runs in each of Ray's processes."""

    def __init__(self, engine: str, threads: int) -> None:
        import torch
        from ray import serve

        torch.set_num_threads(threads)
        self._replica = Replica(load_engine(engine), serve.get_replica_context().replica_id.unique_id)

    async def __call__(self, http: Any) -> Any:
        """Answer one HTTP request."""
        return await self._replica.answer(http)


def build_app(args: dict[str, Any]) -> Any:
    """Return the Serve application; `serve deploy` calls it with the `args` of its file.

    args: engine (name or folder), replicas ("2", or "1-4" to scale between), threads and gpus of each copy.
    """
    from ray import serve

    least, most = parse_replicas(str(args.get("replicas", 1)))
    threads = int(args.get("threads", 1))
    count: dict[str, Any] = {"num_replicas": least}
    if most > least:
        scaling = {"min_replicas": least, "max_replicas": most, "target_ongoing_requests": ONGOING}
        count = {"autoscaling_config": scaling}
    deployment = serve.deployment(
        name="engine",
        max_ongoing_requests=AT_ONCE,
        ray_actor_options={"num_cpus": threads, "num_gpus": float(args.get("gpus", 0))},
        request_router_config={"request_router_class": ROUTER},
        health_check_period_s=2,
        health_check_timeout_s=20,
        graceful_shutdown_timeout_s=5,
        **count,
    )(EngineReplica)
    return deployment.bind(str(args["engine"]), threads)


def parse_replicas(text: str) -> tuple[int, int]:
    """Return the least and the greatest number of copies of "2" or "1-4"; ValueError when it is neither."""
    least, _, most = text.partition("-")
    try:
        numbers = int(least), int(most or least)
    except ValueError:
        numbers = 0, 0
    if not 1 <= numbers[0] <= numbers[1]:
        raise ValueError(f"The number of replicas is one like 2, or two like 1-4; got {text!r}.")
    return numbers


def require_ray() -> None:
    """ValueError with a sentence where Ray Serve is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ValueError("Replicas need Ray Serve, which is not installed: pip install 'agvas[replicas]'.")


@contextmanager
def local_replicas(
    engine: str, replicas: str, *, host: str = LOCAL, port: int = 0, threads: int = 1, gpus: float = 0.0
) -> Iterator[str]:
    """Start copies of an engine on this machine, and yield their address once they answer; end them afterwards.

    Ray's own ports are as closed as docs/hosting.md says; no dashboard, no statistics. host: of the HTTP port alone.

    Raises:
        ValueError: without Ray, for an unknown engine, or a wrong number of replicas.
        OSError: when the port is taken, or Ray does not start.
        RuntimeError: when the engine cannot be loaded; Ray's own message says why.
    """
    require_ray()
    _, most = parse_replicas(replicas)
    if not is_engine(engine):
        raise ValueError(f"There is no engine {engine!r}; choose one of {', '.join(list_engines())}, or a folder.")
    port = _free_port(host, port)
    _close_ray()
    import ray
    from ray import serve

    try:
        ray.init(
            address="local",
            num_cpus=max(most * threads, os.cpu_count() or 1),
            include_dashboard=False,
            object_store_memory=STORE_BYTES,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except Exception as error:  # Ray's own, of no class: 30 s were not enough on a machine that is busy
        ray.shutdown()
        raise OSError(f"Ray did not start: {error}") from error
    try:
        serve.start(http_options={"host": host, "port": port})
        args = {"engine": engine, "replicas": replicas, "threads": threads, "gpus": gpus}
        serve.run(build_app(args), name=APP, route_prefix="/")
        yield f"http://{LOCAL if host == '0.0.0.0' else host}:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()


def _close_ray() -> None:
    """Tell Ray how closed it is to be; the token stays the same in a process, which reads it once."""
    os.environ |= CLOSED
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _free_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0; OSError when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])

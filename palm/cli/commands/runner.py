"""``palm runner``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import IO
from urllib.parse import urlsplit

from palm.cli.failures import OK
from palm.cli.foreground import log_level
from palm.errors import ConfigError, RegistryError
from palm.registry_api.client import Refused, RegistryClient, Unreachable
from palm.runner.forking import ForkServer
from palm.runner.joined import Joined, forget_joined, renew_joined
from palm.runner.membership import WAIT, WAIT_AFAR
from palm.runner.node import Node
from palm.runner.registry import find_registry, wait_for_registry
from palm.runner.sharedkeys import SharedKeys
from palm.runtime.folders import Folders
from palm.runtime.hosts import own_address
from palm.spec.node import NodeConfig, parse_node, parse_ports

__all__ = ["be_runner", "node_config", "run"]

_POLL = 0.01
_log = logging.getLogger("palm.runner")


def run(arguments: Namespace) -> int:
    """Be the runner of a node until the cluster ends; a signal ends the runner alone."""
    be_runner(Folders.find(), node_config(arguments), patience=arguments.patience)
    return OK


def be_runner(
    folders: Folders,
    config: NodeConfig,
    ready: Callable[[], None] | None = None,
    *,
    patience: float = 0.0,
    joined: Joined | None = None,
    tie: IO[str] | None = None,
) -> bool:
    """Be the runner of a node; ``ready`` is called once it knows what to run.

    The registry, and the cluster, may come within ``patience`` seconds. One that has ``joined``
    has the registry, and the keys, of its own. It leaves the cluster when ``tie`` ends, or a
    signal comes.

    Return whether it is a node no more, and nothing of it is needed.
    """
    logging.basicConfig(
        stream=sys.stderr,
        format="%(asctime)s - runner - %(levelname)s - %(message)s",
        level=log_level(),
    )
    with closing(ForkServer()) as forks:
        if os.environ.get("PALM_FORK") != "0":
            forks.start()  # it loads while we wait for the registry
        else:
            forks.close()
        if joined is not None:
            client = joined.client()
        else:
            client = _connect(folders, os.environ.get("PALM_REGISTRY", ""), patience)
        with closing(client):
            if joined is None and not config.address:
                # Where the registry is reached by others, so is what runs beside it.
                config = replace(config, address=own_address(urlsplit(client.url).hostname or ""))
            keys = _shared_keys(folders, client, joined)
            if keys is not None:
                _share(keys, patience)
            wait = WAIT if client.is_near else WAIT_AFAR
            node = Node(
                folders, client, wait=wait, config=config, forks=forks, ready=ready, keys=keys,
                own_token=joined is not None,
            )  # fmt: skip
            end = node.stop if tie is None else partial(node.leave, "it was told to end")
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: end())
            if tie is not None:
                Thread(target=_leave_after, args=(node, tie), name="palm-tie", daemon=True).start()
            node.run()
        if joined is not None and node.is_dismissed:
            forget_joined(folders, joined.node)
        return node.is_dismissed and not node.owes_output


def _leave_after(node: Node, tie: IO[str]) -> None:
    """Wait until whoever started us is gone, however that came."""
    while tie.read(1024):
        pass
    node.leave("whoever started it is gone, or wants it to go")


def _shared_keys(
    folders: Folders, client: RegistryClient, joined: Joined | None
) -> SharedKeys | None:
    """Return the keys of the cluster; None: the files of our own registry are those at hand."""
    if joined is not None:
        renew = partial(renew_joined, folders, client, joined)
        return SharedKeys(folders, client, renew, has_joined=True)
    return SharedKeys(folders, client) if os.environ.get("PALM_REGISTRY") else None


def node_config(arguments: Namespace) -> NodeConfig:
    """Return what the file says of this machine; an option counts more."""
    config = NodeConfig()
    if arguments.config:
        config = _read(Path(arguments.config))
    given = {key: getattr(arguments, key) for key in ("name", "address", "ports")}
    if given["ports"]:
        given["ports"] = parse_ports(given["ports"])
    return replace(config, **{key: value for key, value in given.items() if value})


def _read(path: Path) -> NodeConfig:
    try:
        return parse_node(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{path} cannot be read: {reason}", key="--config") from error


def _connect(folders: Folders, url: str, patience: float) -> RegistryClient:
    if not url:
        wait_for_registry(folders, patience)
    # Where nobody else looks after the registry, we do: it may be killed like any process.
    client = find_registry(folders, url, retry=0.0, revive=True)
    if client is None:
        raise ConfigError("no registry runs here", key="--registry", hint="start one: palm up")
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and _state(client, folders.cluster) in ("", "ended"):
        time.sleep(_POLL)
    if _state(client, folders.cluster) == "ended":
        client.close()
        text = f"the cluster {folders.cluster!r} has ended"
        raise ConfigError(text, hint="start it again: palm up")
    return client


def _share(keys: SharedKeys, patience: float) -> None:
    """Use the keys of the cluster, if they can be had; without them only this machine is reached.

    A registry that is away, or does not hand out keys in clear, does not keep a node from what it
    ran before.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            keys.share()
        except Unreachable as error:
            if time.monotonic() < deadline:
                time.sleep(_POLL)
                continue
            _log.warning("goes on with the keys that it has: %s", error)
        except RegistryError as error:
            _log.warning("goes on with the keys that it has: %s", error)
        return


def _state(client: RegistryClient, cluster: str) -> str:
    """The state of a cluster; "" if nothing is known of it, "?" if it is not ours to know."""
    try:
        return client.view_cluster(cluster).state
    except Refused as error:  # a runner's token is good for what runners do, and we shall see
        return "?" if error.status == 403 else ""
    except RegistryError:
        return ""

"""``palm nodes join-string`` and ``palm nodes join``."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from argparse import Namespace
from contextlib import closing
from dataclasses import replace
from getpass import getpass
from pathlib import Path
from urllib.parse import urlsplit

from palm.cli.attach import known
from palm.cli.commands.runner import be_runner, node_config
from palm.cli.failures import FAILED, NOT_READY, OK, CommandFailed
from palm.cli.tables import duration
from palm.clusters import Cluster
from palm.errors import ConfigError, RegistryError
from palm.files import privatefile
from palm.registry_api.client import RegistryClient
from palm.registry_api.schema import Invitation
from palm.runner.adoption import RunnerLock
from palm.runner.background import Background
from palm.runner.joined import Joined, has_joined, read_joined, write_joined
from palm.runner.local import node_name
from palm.runner.sharedkeys import SharedKeys
from palm.runtime.folders import Folders
from palm.spec.duration import parse_duration
from palm.spec.endpoint import is_loopback
from palm.spec.joinstring import JoinString, parse_join_string
from palm.spec.names import check_labels
from palm.spec.node import NodeConfig

__all__ = ["invite", "is_local", "join", "labels_of", "make_join_string"]

#: Seconds for a runner in the background to be told what to run.
_START = 60.0
_POLL = 0.02


def make_join_string(arguments: Namespace) -> int:
    """Print a text by which one machine may join."""
    ttl = parse_duration(arguments.expires)
    if ttl is None:
        raise ConfigError("a join string is not good for ever", key="--expires", hint="1h, or 7d")
    if not ttl:
        raise ConfigError("it would be good for nothing", key="--expires", hint="1h, or 7d")
    with known() as cluster:
        found = invite(cluster, ttl, arguments.name)
    if arguments.json:
        told = {"join_string": str(found), "cluster": found.cluster, "url": found.url}
        print(json.dumps(told | {"expires": time.time() + ttl, "node": found.node}))
        return OK
    print(found)
    print(
        f"On the other machine: palm nodes join -, and paste it. It is good once, for"
        f" {duration(ttl)}.", file=sys.stderr,
    )  # fmt: skip
    if is_local(found.url):
        print(
            f"palm: the registry listens for this machine alone ({found.url}); to be reached from"
            " others: palm registry --host ADDRESS --tls", file=sys.stderr,
        )  # fmt: skip
    return OK


def invite(cluster: Cluster, ttl: float, node: str = "") -> JoinString:
    """Return a join string of a cluster."""
    found: Invitation = cluster.registry.invite(cluster.name, ttl, node)
    return JoinString(
        url=found.url,
        cluster=found.cluster,
        secret=found.secret,
        fingerprint=found.fingerprint,
        node=found.node,
    )


def is_local(url: str) -> bool:
    """Whether only this machine reaches an address."""
    return is_loopback(urlsplit(url).hostname or "")


def join(arguments: Namespace) -> int:
    """Be a node of a cluster until it ends, or a signal comes; with -d in the background."""
    if arguments.string is None and not _asks(arguments):
        folders = _folders(arguments)
        joined = read_joined(folders, arguments.name)
    else:
        found = parse_join_string(_text(arguments.string))
        folders = _folders(arguments, found.cluster)
        joined = _accept(folders, found, arguments)
        print(f"joined {joined.cluster} at {joined.url} as {joined.node}", file=sys.stderr)
    if arguments.detach:
        return _detach(folders, joined, as_json=arguments.json)
    ready = _ready_file(folders, joined)
    ready.unlink(missing_ok=True)
    has_left = be_runner(
        folders,
        joined.config,
        lambda: privatefile.replace(ready, f"{os.getpid()}\n".encode()),
        joined=joined,
        tie=sys.stdin if arguments.attached else None,
    )
    if arguments.scratch and has_left:
        ready.unlink(missing_ok=True)
        shutil.rmtree(arguments.scratch)
    return OK


def _folders(arguments: Namespace, cluster: str | None = None) -> Folders:
    """Return the folders of the node, which may have some for itself."""
    if arguments.scratch:
        scratch = Path(arguments.scratch).absolute()
        os.environ["PALM_RUN_DIR"] = arguments.run or str(scratch / "run")
        os.environ["PALM_STATE_DIR"] = str(scratch / "state")
    return Folders.find(cluster=cluster)


def _asks(arguments: Namespace) -> bool:
    """Whether the join string is to be typed: on a terminal, of a machine that has joined none."""
    if arguments.attached or arguments.name or not sys.stdin.isatty():
        return False
    return not has_joined(Folders.find())


def _text(given: str | None) -> str:
    if given is None:
        return getpass("join string: ")
    if given != "-":
        return given
    return getpass("join string: ") if sys.stdin.isatty() else sys.stdin.readline()


def labels_of(given: list[str]) -> dict[str, str]:
    """Return labels that were given as KEY=VALUE."""
    labels = dict(text.partition("=")[::2] for text in given)
    check_labels(labels)
    return labels


def _config(arguments: Namespace) -> NodeConfig:
    config = node_config(arguments)
    labels = {**config.labels, **labels_of(arguments.label)}
    allow = config.allow if arguments.allow is None else tuple(arguments.allow)
    given = {"cores": arguments.cores, "places": arguments.places}
    numbers = {key: value for key, value in given.items() if value is not None}
    return replace(config, labels=labels, allow=allow, **numbers)


def _accept(folders: Folders, found: JoinString, arguments: Namespace) -> Joined:
    """Trade a join string for a token, and keep what is needed to go on."""
    config = _config(arguments)
    name = config.name or found.node or node_name()
    with closing(RegistryClient(found.url, "", retry=0.0, fingerprint=found.fingerprint)) as client:
        accepted = client.accept(found.secret, name)
        client.use_token(accepted.token)
        _share_keys(folders, client)
    joined = Joined(
        cluster=accepted.cluster, node=accepted.node, url=found.url, token=accepted.token,
        fingerprint=found.fingerprint, address=config.address, cores=config.cores,
        ports=config.ports, labels=config.labels, allow=config.allow, places=config.places,
    )  # fmt: skip
    write_joined(folders, joined)
    return joined


def _share_keys(folders: Folders, client: RegistryClient) -> None:
    """Take the keys of the cluster; where they cannot be had now, the runner asks for them."""
    keys = SharedKeys(folders, client, has_joined=has_joined(folders))
    try:
        keys.share()
    except RegistryError as error:
        print(f"palm: the keys of the cluster cannot be had for now: {error}", file=sys.stderr)


def _ready_file(folders: Folders, joined: Joined) -> Path:
    return folders.components.parent / f"joined-{joined.node}.pid"


def _detach(folders: Folders, joined: Joined, *, as_json: bool) -> int:
    if (pid := RunnerLock(folders, joined.node).holder()) is not None:
        text = f"this machine is the node {joined.node!r} of {joined.cluster} already: pid {pid}"
        raise CommandFailed(text, FAILED)
    command = [sys.executable, "-m", "palm", "--cluster", folders.cluster]
    command += ["nodes", "join", "--name", joined.node]
    env = {"PALM_RUN_DIR": str(folders.run), "PALM_STATE_DIR": str(folders.state)}
    log = folders.keys.parent / f"runner-{joined.node}.log"
    ready = _ready_file(folders, joined)
    ready.unlink(missing_ok=True)
    runner = Background.start(command, log, folders.state, env)
    deadline = time.monotonic() + _START
    while not ready.exists():
        if not runner.is_running:
            raise CommandFailed(f"the runner ended:\n{runner.log_tail()}", FAILED)
        if time.monotonic() > deadline:
            raise CommandFailed(f"the runner is not ready:\n{runner.log_tail()}", NOT_READY)
        time.sleep(_POLL)
    told = {"cluster": joined.cluster, "node": joined.node, "pid": runner.pid, "log": str(log)}
    line = f"{joined.node} is a node of {joined.cluster} (pid {runner.pid}); its log: {log}"
    print(json.dumps(told) if as_json else line)
    return OK

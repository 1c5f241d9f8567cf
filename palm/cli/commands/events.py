"""``palm events``."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections import deque
from collections.abc import Iterator
from importlib import import_module

import msgspec

from palm.cli.attach import attached, past
from palm.cli.failures import OK
from palm.clusters import Cluster
from palm.registry_api.schema import Event, Skipped
from palm.runtime.folders import Folders
from palm.spec.text import printable

__all__ = ["run"]

#: Events if nobody says how many.
_EVENTS = 100


def run(arguments: Namespace) -> int:
    """Show the last events of the cluster, and with -f those that come."""
    if arguments.follow:
        # Python loses a Ctrl-C that comes in the middle of an import: none after the first line.
        import_module("palm.registry_api.live")
    past()
    with attached() as cluster:
        if cluster is None:
            if not arguments.json:
                print(f"nothing has happened in cluster {Folders.find().cluster!r}")
            return OK
        found, cursor = _last(cluster, arguments)
        for event in found:
            _print(event, as_json=arguments.json)
        if arguments.follow:
            for event in _coming(cluster, cursor):
                _print(event, as_json=arguments.json)
    return OK


def _last(cluster: Cluster, arguments: Namespace) -> tuple[deque[Event], str]:
    """Return the last events that are wanted, and the cursor after them."""
    most = _EVENTS if arguments.n is None and arguments.since is None else arguments.n
    found: deque[Event] = deque(maxlen=most)
    page, cursor = cluster.registry.events(cluster.name)
    while page:
        found += [e for e in page if arguments.since is None or e.time >= arguments.since]
        page, cursor = cluster.registry.events(cluster.name, cursor)
    return found, cursor


def _coming(cluster: Cluster, cursor: str) -> Iterator[Event]:
    with cluster.live(("events",), cursor) as feed:
        for frame in feed:
            if frame.topic == "events":
                yield frame.data
            elif frame.topic == "skipped":
                yield _told(frame.data)


def _told(skipped: Skipped) -> Event:
    text = f"{skipped.count} events were left out"
    return Event(seq=0, time=time.time(), kind="skipped", text=text)


def _print(event: Event, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(msgspec.to_builtins(event)), flush=True)
        return
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    print(f"{at}  {printable(event.kind):<20}  {printable(event.text)}", flush=True)

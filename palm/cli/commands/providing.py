"""``palm nodes provide``: keep a node on each worker of an engine; a component does that."""

from __future__ import annotations

import logging
import signal
import sys
from argparse import Namespace

from palm.cli.attach import known
from palm.cli.commands.joining import invite, labels_of
from palm.cli.failures import OK
from palm.cli.foreground import log_level
from palm.clusters.pools import note_problems, scheduler_of
from palm.engines.daskpool import DaskPool, be_prompt, be_quiet
from palm.engines.orders import RECORD, Beside
from palm.engines.provider import TTL, Provider, Provision
from palm.engines.reach import out_of_reach
from palm.runtime.folders import Folders
from palm.runtime.hosts import boot_id

__all__ = ["provide"]


def provide(arguments: Namespace) -> int:
    """Keep a node on each worker until a signal comes, and then on none."""
    logging.basicConfig(
        stream=sys.stderr, format="%(asctime)s - %(levelname)s - %(message)s", level=log_level()
    )
    be_quiet()
    be_prompt()
    with known() as cluster:
        scheduler = scheduler_of(cluster.folders, arguments.engine, arguments.name)
        provision = Provision(
            cluster=cluster.name,
            name=arguments.name,
            engine="dask",
            join=lambda node: str(invite(cluster, TTL, node)),
            refusal=lambda host: out_of_reach(cluster.registry.url, host),
            beside=lambda: _beside(cluster.folders),
            labels=labels_of(arguments.label),
            allow=None if arguments.allow is None else tuple(arguments.allow),
        )
        provider = Provider(
            cluster.registry,
            provision,
            lambda: DaskPool(scheduler, cluster.name, arguments.name),
            lambda problems: note_problems(cluster.folders, arguments.name, problems),
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: provider.stop())
        provider.run(lambda: print(f"provides nodes on workers of {scheduler}", flush=True))
    return OK


def _beside(folders: Folders) -> Beside | None:
    try:
        record = (folders.run / RECORD).read_bytes()
    except OSError:
        return None
    return Beside(str(folders.run), boot_id(), record)

"""``palm ui``."""

from __future__ import annotations

import json
from argparse import Namespace

from palm.cli.attach import attached
from palm.cli.failures import FAILED, OK, CommandFailed

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Print an address that logs a browser in, once."""
    with attached() as cluster:
        if cluster is None:
            raise CommandFailed("no registry runs here; start one: palm up", FAILED)
        url = cluster.registry.login_url()
    print(json.dumps({"url": url}) if arguments.json else url)
    return OK

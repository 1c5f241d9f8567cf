"""``palm ui``."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from urllib.parse import urlsplit

from palm.cli.attach import attached
from palm.cli.failures import FAILED, OK, CommandFailed
from palm.spec.endpoint import is_loopback

__all__ = ["elsewhere", "run"]


def run(arguments: Namespace) -> int:
    """Print an address that logs a browser in, once, and leads it to the cluster."""
    with attached() as cluster:
        if cluster is None:
            raise CommandFailed("no registry runs here; start one: palm up", FAILED)
        url = cluster.registry.login_url(f"#/clusters/{cluster.name}")
    if arguments.json:
        print(json.dumps({"url": url}))
        return OK
    print(url)
    print(elsewhere(url), file=sys.stderr)
    return OK


def elsewhere(url: str) -> str:
    """Say how long an address is good, and how it is reached from where the browser is."""
    parts = urlsplit(url)
    said = ["It opens once, within half a minute."]
    if is_loopback(parts.hostname or ""):
        rest = f"{parts.path}?{parts.query}"
        said += [
            "If your browser is on another machine:",
            f"  ssh -N -L {parts.port}:127.0.0.1:{parts.port} THIS-MACHINE, then the same address;",
            f"  or, where Jupyter runs here with its proxy: JUPYTER/proxy/{parts.port}{rest}",
        ]
    return "\n".join(said)

"""``palm gateway``."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from logging import WARNING

from palm.cli.failures import OK
from palm.cli.foreground import log_level, tie
from palm.gateways.http import Gateway, Limits

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Be a gateway until stopped."""
    tie()
    given = {
        "body": arguments.max_body,
        "requests": arguments.max_requests,
        "timeout": arguments.timeout,
    }
    level = log_level()
    gateway = Gateway(
        arguments.server,
        arguments.host,
        arguments.port,
        token_file=arguments.token_file,
        name=arguments.name or "",
        limits=replace(Limits(), **{key: value for key, value in given.items() if value}),
        certfile=arguments.certfile,
        keyfile=arguments.keyfile,
        allow_hosts=arguments.allow_host,
        log_level=max(level, WARNING) if arguments.json else level,
        ready=_print if arguments.json else None,
    )
    gateway.start()
    return OK


def _print(gateway: Gateway) -> None:
    found = {"name": gateway.name, "url": gateway.url, "token_file": str(gateway.token_file)}
    print(json.dumps(found), flush=True)

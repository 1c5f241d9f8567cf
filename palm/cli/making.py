"""Components as a command line describes them, in a process of their own or in a kernel."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from palm.cli.foreground import log_level
from palm.runtime.targets import Functions
from palm.servers import Hub, Master, Pipeline, Server, Sink
from palm.servers.server import Serving

__all__ = ["SERVING", "listed", "make_hub", "make_master", "make_serving"]

#: What a module may derive its class from, by command.
SERVING: dict[str, type[Serving]] = {"server": Server, "pipeline": Pipeline, "sink": Sink}


def make_master(arguments: Namespace) -> Master:
    """Make a master."""
    return Master(
        arguments.name,
        pull_address=arguments.pull,
        pub_address=arguments.pub,
        worker_pull_address=arguments.wpull,
        worker_push_address=arguments.wpush,
        db_address=arguments.db,
        pipelined=arguments.pipelined,
        log_level=log_level(),
        durable=arguments.durable,
    )


def make_hub(arguments: Namespace) -> Hub:
    """Make a hub."""
    more: dict[str, Any] = _links(arguments)
    return Hub(
        arguments.name,
        pub_address=arguments.pub,
        worker_pull_address=arguments.wpull,
        worker_push_address=arguments.wpush,
        db_address=arguments.db,
        pipelined=arguments.pipelined,
        log_level=log_level(),
        **more,
    )


def make_serving(offer: type[Serving] | Functions, arguments: Namespace) -> Serving:
    """Make a server, a pipeline or a sink of what a target offers."""
    values = vars(arguments)
    ports = {f"{port}_address": values.get(port) for port in ("pull", "pub", "db")}
    # A class of the user's may know no options that nobody gave.
    more: dict[str, Any] = {key: address for key, address in ports.items() if address}
    more |= _links(arguments)
    if isinstance(offer, dict):
        more["functions"] = offer
        offer = SERVING[arguments.command]
    component: Serving = offer(arguments.name, log_level=log_level(), **more)
    if values.get("pipelined"):
        component.pipelined = True
    if values.get("to_client") is not None:  # beats the environment
        component.pipelined = not arguments.to_client
    return component


def listed(text: str | None) -> list[str]:
    """Split what has commas between."""
    return [part for part in map(str.strip, (text or "").split(",")) if part]


def _links(arguments: Namespace) -> dict[str, Any]:
    """What a component takes from which, as its constructor has it."""
    values = vars(arguments)
    several = arguments.command == "sink"
    found = {
        "previous": listed(values.get("previous")),
        "sub_addresses" if several else "sub_address": listed(values.get("sub")),
    }
    return {
        key: each if several or len(each) > 1 else each[0] for key, each in found.items() if each
    }

"""What a panel asks for: to start, stop, restart and scale components, and earlier output.

An action is plain values from a browser, so everything in it is checked; see the panel's module
(`registry/web/src/transport.js`) for what there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from palm.clusters import Cluster
from palm.errors import ConfigError
from palm_jupyter.frames import metrics_frame

__all__ = ["perform"]

#: Lines in one answer: each message to a page is held in memory several times.
MAX_LINES = 20_000
#: Processes that a component is scaled to from a panel: a finger slips.
MAX_REPLICAS = 1000


class _Action(msgspec.Struct, forbid_unknown_fields=True, tag_field="do"):
    """Base: ``do`` says which."""


class _Stop(_Action, tag="stop"):
    component: str


class _Start(_Action, tag="start"):
    component: str


class _Restart(_Action, tag="restart"):
    component: str


class _Scale(_Action, tag="scale"):
    component: str
    replicas: int


class _History(_Action, tag="history"):
    pass


class _Output(_Action, tag="output"):
    component: str
    name: str = ""
    lines: int = 500
    before: str = ""
    until: float | None = None
    stream: str = ""
    grep: str = ""


_Any = _Stop | _Start | _Restart | _Scale | _History | _Output


def perform(cluster: Cluster, action: Mapping[str, Any]) -> Any:
    """Do it, and return the answer as plain values; returns when it is done.

    Raises
    ------
    ConfigError
        It makes no sense, or names what there is not.
    PalmError
        It could not be done.
    """
    try:
        found = msgspec.convert(action, _Any)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the panel asked for what there is not: {error}") from error
    return _do(cluster, found)


def _do(cluster: Cluster, action: _Any) -> Any:
    match action:
        case _Stop():
            cluster.stop(action.component)
        case _Start():
            cluster.resume(action.component)
        case _Restart():
            cluster.restart(action.component)
        case _Scale():
            _scale(cluster, action)
        case _History():
            return metrics_frame(cluster.registry.metrics(cluster.name, history=True))["data"]
        case _Output():
            return _output(cluster, action)
    return None


def _scale(cluster: Cluster, action: _Scale) -> None:
    if not 1 <= action.replicas <= MAX_REPLICAS:
        raise ConfigError(
            f"{action.replicas} processes of {action.component}", hint=f"1 to {MAX_REPLICAS:,}"
        )
    cluster.scale(action.component, action.replicas)


def _output(cluster: Cluster, action: _Output) -> Any:
    page = cluster.registry.output(
        cluster.name,
        action.component,
        name=action.name or None,
        stream=action.stream or None,
        until=action.until,
        grep=action.grep or None,
        lines=max(0, min(action.lines, MAX_LINES)),
        before=action.before,
    )
    return msgspec.to_builtins(page)

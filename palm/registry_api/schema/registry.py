"""The registry itself: whether it is there, and how it was told to run."""

from __future__ import annotations

from palm.registry_api.schema.base import Value

__all__ = ["Health", "RegistryInfo"]


class Health(Value):
    """GET health, open to all: says nothing about clusters."""

    status: str
    version: str
    api: int = 1
    api_oldest: int = 1


class RegistryInfo(Value):
    """GET api/registry: what the registry is, and how it was told to run.

    ``run`` is another after each start. Sizes are bytes, ``None`` is no limit. ``database`` is
    its kind, ``fingerprint`` that of the certificate, "" without TLS.
    """

    version: str
    api: int
    api_oldest: int
    run: str
    pid: int
    started: float
    url: str
    database: str
    database_size: int
    retain_size: int | None = None
    retain_age: float | None = None
    linger: float | None = None
    fingerprint: str = ""
    connections: int = 0
    most_connections: int = 0

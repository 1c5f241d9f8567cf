"""Keys of a cluster for its other machines, and where its components are by name."""

from __future__ import annotations

from palm.registry_api import schema
from palm.spec.endpoint import is_loopback
from palm_registry.description import describes
from palm_registry.failures import Forbidden
from palm_registry.handlers.base import Base

__all__ = ["Keys", "Names", "RoleKey"]


class Names(Base):
    """Components that are found by their name."""

    scopes = {"GET": "viewer"}

    @describes(reply=list[schema.NamedAddress])
    async def get(self, key: str) -> None:
        """Say where each of them listens for other machines."""
        self.answer(await self.service.nodes.names(key))


class _Secret(Base):
    """What nobody on the way may read."""

    async def admit(self) -> None:
        """Refuse, beyond who may not, whoever would be sent secrets in clear."""
        await super().admit()
        if self.request.protocol != "https" and not is_loopback(self.request.remote_ip or ""):
            text = "keys travel over TLS, or within one machine, and no other way"
            raise Forbidden("in-clear", text, "start the registry with --tls, or use a tunnel")


class Keys(_Secret):
    """The keys of a cluster."""

    scopes = {"POST": "runner", "PUT": "operator"}

    @describes(
        body=schema.KeysOffer,
        reply=schema.ClusterKeys,
        errors=(404, 410),
        summary="Hand a node the keys of its cluster; the first ones offered are kept.",
    )
    async def post(self, key: str) -> None:
        """Answer with those that hold."""
        offer, node = self.body(schema.KeysOffer), self.principal.node
        self.answer(await self.service.keyrings.take(key, offer, node))

    @describes(
        body=schema.ClusterKeys,
        errors=(404, 409),
        summary="Put keys in the place of those that there are, and have all nodes fetch them.",
    )
    async def put(self, key: str) -> None:
        """Keep them, if those that there are are known in them as those of before."""
        await self.service.keyrings.change(key, self.body(schema.ClusterKeys))
        self.nothing()


class RoleKey(_Secret):
    """The key of a role of a cluster, for a program on another machine."""

    scopes = {"POST": "operator"}

    @describes(
        reply=schema.ClusterKey,
        errors=(404,),
        summary="Hand out the key of clients, or of workers; the audit list has who got it.",
    )
    async def post(self, key: str, role: str) -> None:
        """Answer with it."""
        self.details = {"role": role}
        self.answer(await self.service.keyrings.of_role(key, role))

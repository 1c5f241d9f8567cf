"""How nodes come in and go out: invitations, tokens of one node each, and their end."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from palm.errors import ConfigError
from palm.registry_api.schema import InvitationCreate, NodeAccept, NodeAccepted
from palm.spec.names import check_name
from palm_registry.connections import Principal
from palm_registry.failures import Conflict, Forbidden, Invalid, NotFound
from palm_registry.security import Access, digest_of
from palm_registry.service.accounts import PREFIX
from palm_registry.service.core import Core, add_event, get_cluster
from palm_registry.store import access as token_rows
from palm_registry.store import invitations as rows
from palm_registry.store import nodes as node_rows
from palm_registry.store.access import TokenRow
from palm_registry.store.invitations import InvitationRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Invitations"]

#: Seconds that an invitation may be good for, and that it is known after its end.
MAX_TTL = 7 * 24 * 3600.0
REMEMBERED = 24 * 3600.0
#: Invitations of a cluster that are known at once.
MOST = 1000
#: Seconds in which a node that is removed ends what it runs, and sends the last of its output.
DRAIN = 60.0


class Invitations:
    """Rules for who may be a node, and for how long."""

    def __init__(self, core: Core, access: Access) -> None:
        self._core = core
        self._access = access

    async def add(self, key: str, request: InvitationCreate, by: Principal) -> tuple[str, float]:
        """Return the secret of a new invitation, and when that is over."""
        if not 0 < request.ttl <= MAX_TTL:
            raise Invalid("ttl", f"{request.ttl} seconds", f"more than 0, at most {MAX_TTL:.0f}")
        if request.node:
            _check_node(request.node)
        secret, now = secrets.token_urlsafe(32), time.time()

        def write(connection: Connection) -> None:
            cluster = get_cluster(connection, key)
            rows.drop_invitations(connection, now - REMEMBERED)
            if rows.count_invitations(connection, key) >= MOST:
                raise Conflict("too-many", f"{MOST} invitations are known", "try again tomorrow")
            rows.add_invitation(
                connection,
                InvitationRow(
                    hash=digest_of(secret), cluster=str(key), owner=cluster.owner,
                    node=request.node, created=now, expires=now + request.ttl, creator=by.token,
                ),
            )  # fmt: skip

        await self._core.database.write(write)
        return secret, now + request.ttl

    async def accept(self, request: NodeAccept) -> NodeAccepted:
        """Return the token of a node for the secret of an invitation, which is used up by that.

        Raises
        ------
        NotFound
            There is no such invitation.
        Forbidden
            It was used, it is too old, or it is for a node of another name.
        Conflict
            There is a node of that name.
        """
        _check_node(request.name)
        token = f"{PREFIX}{secrets.token_urlsafe(32)}"

        def write(connection: Connection) -> TokenRow:
            found = _open_invitation(connection, request)
            _make_free(connection, found.cluster, request.name)
            row = TokenRow(
                hash=digest_of(token),
                name=f"node-{request.name[:48]}-{secrets.token_hex(4)}",
                scope="runner",
                created=time.time(),
                owner=found.owner,
                cluster=found.cluster,
                creator=found.creator,
                node=request.name,
            )
            rows.use_invitation(connection, found.hash, time.time())
            token_rows.add_token(connection, row)
            text = f"node {request.name} was let in by a join string"
            add_event(connection, found.cluster, "node.invited", text, node=request.name)
            return row

        row = await self._core.database.write(write)
        self._access.expel(await self._drop_before(row))
        self._access.admit(row)
        self._core.changed(row.cluster)
        return NodeAccepted(cluster=row.cluster, node=row.node, token=token)

    async def _drop_before(self, row: TokenRow) -> set[str]:
        """Forget what was good for a node of this name before."""
        old = {each.hash for each in self._of_node(row.cluster, row.node)}

        def write(connection: Connection) -> None:
            for digest in old:
                token_rows.delete_token(connection, digest)

        if old:
            await self._core.database.write(write)
        return old

    async def renew(self, key: str, node: str, by: Principal) -> NodeAccepted:
        """Return another token of a node; the one that it has is good for a minute more.

        Raises
        ------
        Conflict
            Whoever asks has no token of this node.
        """
        if by.node != node:
            text = "only the token of a node can be renewed, by the node itself"
            raise Conflict("no-node-token", text, "palm nodes join-string makes a node have one")
        old = [row for row in self._of_node(str(key), node) if row.hash == by.digest]
        token, end = f"{PREFIX}{secrets.token_urlsafe(32)}", time.time() + DRAIN
        row = replace(
            old[0],
            hash=digest_of(token),
            name=f"node-{node[:48]}-{secrets.token_hex(4)}",
            created=time.time(),
            used=None,
        )

        def write(connection: Connection) -> None:
            token_rows.add_token(connection, row)
            token_rows.limit_token(connection, by.digest, end)

        await self._core.database.write(write)
        self._access.admit(row)
        self._access.limit(by.digest, end)
        return NodeAccepted(cluster=row.cluster, node=node, token=token)

    async def revoke(self, key: str, node: str, *, now: bool) -> None:
        """Let a node that was removed in no more: at once, or once it had time to end."""
        old = self._of_node(str(key), node)
        end = time.time() + (0.0 if now else DRAIN)

        def write(connection: Connection) -> None:
            for row in old:
                if now:
                    token_rows.delete_token(connection, row.hash)
                else:
                    token_rows.limit_token(connection, row.hash, end)

        if old:
            await self._core.database.write(write)
        for row in old:
            self._access.limit(row.hash, end)
        if now:
            self._access.expel({row.hash for row in old})

    def _of_node(self, cluster: str, node: str) -> list[TokenRow]:
        found = self._access.tokens()
        return [row for row in found if row.node == node and row.cluster == cluster]


def _open_invitation(connection: Connection, request: NodeAccept) -> InvitationRow:
    found = rows.get_invitation(connection, digest_of(request.secret))
    again = "ask for another one: palm nodes join-string"
    if found is None:
        raise NotFound("no-invitation", "the registry does not know this join string", again)
    if found.used is not None:
        raise Forbidden("invitation-used", "this join string was used already", again)
    if found.expires <= time.time():
        raise Forbidden("invitation-expired", "this join string is too old", again)
    if found.node not in ("", request.name):
        text = f"this join string is for a node {found.node!r}"
        raise Forbidden("invitation-node", text, f"--name {found.node}")
    return found


def _make_free(connection: Connection, cluster: str, name: str) -> None:
    get_cluster(connection, cluster)
    row = node_rows.get_node(connection, cluster, name)
    if row is not None and not row.removed:
        hint = f"--name: another one; or palm nodes remove {name}"
        raise Conflict("node-exists", f"there is a node {name!r} already", hint)
    if row is not None:  # it was removed; who comes now is another one
        node_rows.delete_node(connection, cluster, name)


def _check_node(name: str) -> None:
    try:
        check_name(name)
    except ConfigError as error:
        text = f"{name[:100]!r} cannot be the name of a node"
        raise Invalid("name", text, error.hint or "") from error

"""The keys of a cluster, and where the components are that are found by name."""

from __future__ import annotations

from hashlib import sha256

from palm.registry_api.schema.base import Value

__all__ = ["ClusterKey", "ClusterKeys", "KeyPair", "KeysOffer", "NamedAddress"]


class KeyPair(Value, kw_only=True):
    """The key pair of a role, and the public key of its servers (z85 text).

    ``expires`` is until when it is good, in seconds since the epoch, 0: for ever.
    """

    schema: int = 1
    role: str
    curve_publickey: str
    curve_secretkey: str
    server_publickey: str
    created: str = ""
    expires: float = 0.0

    def __repr__(self) -> str:
        # A repr ends up in logs.
        return f"<{type(self).__name__} {self.role} {self.curve_publickey}>"


class ClusterKey(KeyPair, kw_only=True):
    """The key of one role of a cluster; that of ``before`` is good beside it for a while."""

    before: KeyPair | None = None

    @property
    def pairs(self) -> tuple[KeyPair, ...]:
        """The pair, and that of before."""
        return (self,) if self.before is None else (self, self.before)


class ClusterKeys(Value):
    """All keys of a cluster: what a node needs, on which any component may run."""

    owner: ClusterKey
    client: ClusterKey
    worker: ClusterKey

    @property
    def digest(self) -> str:
        """What is another whenever any of them is; it gives nothing of them away."""
        pairs = (*self.owner.pairs, *self.client.pairs, *self.worker.pairs)
        told = "".join(f"{p.role} {p.curve_publickey} {p.expires!r}\n" for p in pairs)
        return sha256(told.encode()).hexdigest()[:16]

    def follows(self, others: ClusterKeys) -> bool:
        """Whether these took the place of others, or are the same."""
        ours = (each.curve_publickey for each in self.owner.pairs)
        return others.owner.curve_publickey in ours


class KeysOffer(Value):
    """A node's question for the keys of a cluster; if there are none yet, it offers ``keys``."""

    keys: ClusterKeys | None = None


class NamedAddress(Value):
    """Where a component that is found by its name listens; ``node`` is where it runs.

    ``address`` is "" while it does not run, or if no other machine can reach it; ``runs`` says
    which of the two.
    """

    name: str
    role: str
    node: str = ""
    address: str = ""
    runs: bool = False

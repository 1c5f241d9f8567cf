"""The tables. A change here needs a migration of the same shape (`palm_registry.migrations`)."""

from __future__ import annotations

import sqlalchemy
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    false,
)

__all__ = [
    "audit",
    "clusters",
    "code",
    "components",
    "configs",
    "drops",
    "events",
    "instances",
    "invitations",
    "leases",
    "meta",
    "metadata",
    "nodes",
    "output",
    "output_data",
    "placements",
    "replicas",
    "sessions",
    "strays",
    "streams",
    "tokens",
    "users",
]

metadata = MetaData()

# On PostgreSQL, too, whole numbers have 64 bits, and text is sorted by its code points.
Integer = sqlalchemy.Integer().with_variant(BigInteger(), "postgresql")
String = sqlalchemy.String().with_variant(sqlalchemy.String(collation="C"), "postgresql")
Text = sqlalchemy.Text().with_variant(sqlalchemy.Text(collation="C"), "postgresql")


def _of_cluster() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["cluster"], ["clusters.key"], ondelete="CASCADE")


#: One row: which database this is, and the version of its schema.
meta = Table(
    "meta",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("identity", String, nullable=False),
)

#: ``held``: somebody has had a lease, so the end of the last one ends the cluster. ``purge``: to
#: be deleted once its nodes are gone. ``owner``: the user whose it is.
clusters = Table(
    "clusters",
    metadata,
    Column("key", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("config_version", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("linger", Float),
    Column("held", Boolean, nullable=False),
    Column("purge", Boolean, nullable=False),
    Column("owner", String, nullable=False),
)

#: Versions of cluster files. Those of before schema 5 have no ``sha256`` and no ``size``. ``code``:
#: the files of each component, by content.
configs = Table(
    "configs",
    metadata,
    Column("cluster", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("file", String, nullable=False),
    Column("folder", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("by", String, nullable=False),
    Column("note", String, nullable=False),
    Column("size", Integer, nullable=False),
    Column("sha256", String, nullable=False),
    Column("code", JSON, nullable=False, server_default="{}"),
    _of_cluster(),
)

#: What is in the files of components: of each content once in a cluster.
code = Table(
    "code",
    metadata,
    Column("cluster", String, primary_key=True),
    Column("sha256", String, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("stored", Float, nullable=False),
    Column("data", LargeBinary, nullable=False),
    _of_cluster(),
)

#: ``running``: wanted now. ``released``: what it needs has been ready since it was wanted.
components = Table(
    "components",
    metadata,
    Column("cluster", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("spec", JSON, nullable=False),
    Column("running", Boolean, nullable=False),
    Column("released", Boolean, nullable=False),
    Column("stop_grace", Float),
    _of_cluster(),
)

#: ``overdue``: lost, and not back in time, so that what it had may go elsewhere. ``places``: how
#: many processes it takes at most, 0: any number.
nodes = Table(
    "nodes",
    metadata,
    Column("cluster", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("address", String, nullable=False),
    Column("cores", Integer, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("session", String, nullable=False),
    Column("alive", Boolean, nullable=False),
    Column("removed", Boolean, nullable=False),
    Column("seen", Float, nullable=False),
    Column("overdue", Boolean, nullable=False, server_default=false()),
    Column("places", Integer, nullable=False, server_default="0"),
    _of_cluster(),
)

#: Which node runs a replica; stays while that node is known.
placements = Table(
    "placements",
    metadata,
    Column("cluster", String, primary_key=True),
    Column("component", String, primary_key=True),
    Column("replica", Integer, primary_key=True, autoincrement=False),
    Column("node", String, nullable=False),
    _of_cluster(),
)

#: What runners have reported last, a ReplicaStatus each.
replicas = Table(
    "replicas",
    metadata,
    Column("cluster", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("node", String, nullable=False),
    Column("status", JSON, nullable=False),
    _of_cluster(),
)

#: Processes on nodes that are not to run them any more, until these say that they are gone.
strays = Table(
    "strays",
    metadata,
    Column("cluster", String, primary_key=True),
    Column("node", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("component", String, nullable=False),
    _of_cluster(),
)

#: Signals for processes. ``done``: its runner has said what became of it, or it is too old.
signals = Table(
    "signals",
    metadata,
    Column("cluster", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("component", String, nullable=False),
    Column("node", String, nullable=False),
    Column("instance", String, nullable=False),
    Column("signal", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("done", Boolean, nullable=False),
    _of_cluster(),
)

leases = Table(
    "leases",
    metadata,
    Column("cluster", String, primary_key=True),
    Column("holder", String, primary_key=True),
    Column("ttl", Float, nullable=False),
    _of_cluster(),
)

instances = Table(
    "instances",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("cluster", String, nullable=False),
    Column("instance", String, nullable=False),
    Column("component", String, nullable=False),
    Column("replica", Integer, nullable=False),
    Column("name", String, nullable=False),
    Column("created", Float, nullable=False),
    _of_cluster(),
    UniqueConstraint("cluster", "instance", name="uq_instances"),
)

#: All bytes of a stream below ``durable`` have been stored; those below ``dropped`` are gone.
streams = Table(
    "streams",
    metadata,
    Column("instance", Integer, primary_key=True, autoincrement=False),
    Column("stream", String, primary_key=True),
    Column("durable", Integer, nullable=False),
    Column("dropped", Integer, nullable=False, server_default="0"),
    ForeignKeyConstraint(["instance"], ["instances.id"], ondelete="CASCADE"),
)

#: Ids only grow, also after rows were deleted: they are cursors. ``time`` is when it was read
#: where it was written, and never later than ``stored``, which only grows with the ids. A row with
#: ``lost`` stands for so many bytes that are not there, for a ``reason``; its ``size`` is 0.
output = Table(
    "output",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("cluster", String, nullable=False),
    Column("instance", Integer, nullable=False),
    Column("stream", String, nullable=False),
    Column("offset", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("time", Float, nullable=False),
    Column("component", String, nullable=False, server_default=""),
    Column("stored", Float, nullable=False, server_default="0"),
    Column("lost", Integer, nullable=False, server_default="0"),
    Column("reason", String, nullable=False, server_default=""),
    _of_cluster(),
    ForeignKeyConstraint(["instance"], ["instances.id"], ondelete="CASCADE"),
    UniqueConstraint("instance", "stream", "offset", name="uq_output"),
    sqlite_autoincrement=True,
)
Index("ix_output_cluster", output.c.cluster, output.c.id)
Index("ix_output_component", output.c.cluster, output.c.component, output.c.id)
# Of rows with ``lost`` alone: to say so here would load the dialects of all databases.
Index("ix_output_lost", output.c.instance, output.c.lost)

#: The bytes of a row of ``output``: apart, so that looking for rows reads few pages.
output_data = Table(
    "output_data",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
    ForeignKeyConstraint(["id"], ["output.id"], ondelete="CASCADE"),
)

#: The newest output of each component that was dropped for its age, or for want of room.
drops = Table(
    "drops",
    metadata,
    Column("cluster", String, primary_key=True),
    Column("component", String, primary_key=True),
    Column("last", Integer, nullable=False),
    _of_cluster(),
)

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("cluster", String, nullable=False),
    Column("time", Float, nullable=False),
    Column("kind", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("component", String, nullable=False),
    Column("replica", Integer),
    Column("node", String, nullable=False),
    Column("data", JSON, nullable=False),
    _of_cluster(),
    sqlite_autoincrement=True,
)
Index("ix_events_cluster", events.c.cluster, events.c.seq)

users = Table(
    "users",
    metadata,
    Column("name", String, primary_key=True),
    Column("created", Float, nullable=False),
    Column("creator", String, nullable=False),
)

#: Only hashes: who reads the database cannot use what is in it. ``owner``: the user who has it,
#: ``creator``: the token by which it was made, ``cluster``: the only one it is for, or "";
#: ``node``: likewise.
tokens = Table(
    "tokens",
    metadata,
    Column("hash", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("scope", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("owner", String, nullable=False),
    Column("cluster", String, nullable=False),
    Column("expires", Float),
    Column("used", Float),
    Column("creator", String, nullable=False),
    Column("node", String, nullable=False, server_default=""),
)
Index("ix_tokens_name", tokens.c.name, unique=True)

#: What lets a node join, once; of the secret only a hash. ``node``: its name, "" for any.
invitations = Table(
    "invitations",
    metadata,
    Column("hash", String, primary_key=True),
    Column("cluster", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("node", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("used", Float),
    Column("creator", String, nullable=False),
    _of_cluster(),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", String, primary_key=True),
    Column("token", String, nullable=False),
    Column("expires", Float, nullable=False),
    ForeignKeyConstraint(["token"], ["tokens.hash"], ondelete="CASCADE"),
)

#: Who changed what, and who tried to. Names only: it outlives clusters, tokens and users.
audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("time", Float, nullable=False),
    Column("token", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("address", String, nullable=False),
    Column("what", String, nullable=False),
    Column("cluster", String, nullable=False),
    Column("status", Integer, nullable=False),
    Column("code", String, nullable=False),
    Column("details", JSON, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_audit_time", audit.c.time)

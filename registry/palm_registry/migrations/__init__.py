"""The schema of the database, step by step.

Each module ``mNNNN`` has a tuple ``STATEMENTS`` that lead from the version before to NNNN. A
step is never changed once it was released: a change is another step.
"""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, inspect, text

from palm.errors import ConfigError
from palm_registry.migrations import m0001, m0003

__all__ = ["LATEST", "migrate"]

_STEPS: tuple[tuple[str, ...], ...] = (m0001.STATEMENTS, m0003.STATEMENTS)
#: Version of the schema that this program works with.
LATEST = len(_STEPS)


def migrate(connection: Connection) -> None:
    """Bring a database, new or old, to the latest schema; the caller commits.

    Raises
    ------
    ConfigError
        It was written by a newer palm, whose schema is unknown here.
    """
    fresh = not inspect(connection).has_table("meta")
    version = 0 if fresh else int(connection.scalar(text("SELECT version FROM meta")) or 0)
    if version > LATEST:
        raise ConfigError(
            f"the database has schema {version}, and this palm knows up to {LATEST}",
            hint="use the newer palm, or another database with --db",
        )
    for step in _STEPS[version:]:
        for statement in step:
            connection.execute(text(statement))
    if fresh:
        row = {"version": LATEST, "identity": secrets.token_hex(4)}
        connection.execute(text("INSERT INTO meta VALUES (:version, :identity)"), row)
    elif version < LATEST:
        connection.execute(text("UPDATE meta SET version = :version"), {"version": LATEST})

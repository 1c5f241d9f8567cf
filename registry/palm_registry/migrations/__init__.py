"""The schema of the database, step by step.

Each module ``mNNNN`` has a tuple ``STATEMENTS`` that lead from the version before to NNNN. A
step is never changed once it was released: a change is another step. Statements are those of
SQLite; `palm_registry.migrations.postgresql` says what they may be, to mean the same there.
"""

from __future__ import annotations

import secrets
from importlib import import_module

from sqlalchemy import Connection, inspect, text

from palm.errors import ConfigError
from palm_registry.migrations.postgresql import ForDialect, Statement, align_numbers, translate

__all__ = ["LATEST", "ForDialect", "migrate"]

#: Modules of this package, in order; loaded only for a database that needs them.
_STEPS = ("m0001", "m0002", "m0003", "m0004", "m0005", "m0006", "m0007", "m0008", "m0009")
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
        for statement in import_module(f"{__name__}.{step}").STATEMENTS:
            _execute(connection, statement)
    if version < LATEST and connection.dialect.name == "postgresql":
        align_numbers(connection)
    if fresh:
        row = {"version": LATEST, "identity": secrets.token_hex(4)}
        connection.execute(text("INSERT INTO meta VALUES (:version, :identity)"), row)
    elif version < LATEST:
        connection.execute(text("UPDATE meta SET version = :version"), {"version": LATEST})


def _execute(connection: Connection, statement: Statement) -> None:
    if connection.dialect.name == "postgresql":
        statements = list(translate(statement))
    else:
        statements = [statement.sqlite if isinstance(statement, ForDialect) else statement]
    # As they are: neither ':' nor '%' means anything in them.
    options = {"no_parameters": True}
    for each in filter(str.strip, statements):
        connection.exec_driver_sql(each, execution_options=options)

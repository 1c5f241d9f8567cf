"""PostgreSQL: by an address as libpq knows it, one registry for a database by an advisory lock."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import QueuePool

from palm.errors import ConfigError
from palm.spec.endpoint import is_loopback
from palm_registry.store.dialect import BUSY, READERS, Taken

__all__ = ["PostgreSQL"]

_log = logging.getLogger("palm.registry")

#: The oldest server with all that is used here.
OLDEST = 12
#: Seconds until a connection must be there.
_CONNECT = 5
#: Seconds after which no statement of a reader goes on: nobody waits for its answer any more.
_READ = 60

#: Of the advisory lock: the first half of its key, "palm"; the other is the schema.
_LOCK = 0x70616C6D
_SCHEMA = "to_regnamespace(quote_ident(current_schema()))::oid::bigint"
_TAKE_LOCK = f"SELECT pg_advisory_lock(({_LOCK}::bigint << 32) | coalesce({_SCHEMA}, 0))"
_HOLDER = f"""
    SELECT a.application_name, a.pid
    FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = {_LOCK} AND l.objid = {_SCHEMA}::oid
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608

#: Of every connection: a server that is gone, or behind a broken network, is noticed in the end.
_SETTINGS = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    # The lock lasts as long as the connection that took it.
    "idle_session_timeout": "0",
    "lock_timeout": f"{BUSY:.0f}s",
}
_SET = """
    SELECT set_config(name, %(value)s, false) FROM pg_settings WHERE name = %(name)s
"""  # a server that is too old for a setting does without it
#: What was acknowledged is on disk, whatever is usual on the server; "remote_apply" is more.
_DURABLE = """
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'
"""
#: The states of SQL, by their beginnings, that mean that there is no server to be talked to.
_AWAY = ("08", "57P")


class PostgreSQL:
    """A database of a server of PostgreSQL."""

    hint = "is the server up, does the database exist, and may this user change it?"
    look: float | None = 10.0

    def __init__(self, url: URL) -> None:
        self.shown = _shown(url)
        if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
            hint = "palm brings psycopg: postgresql://USER@HOST/DATABASE"
            raise ConfigError(f"there is no driver {url.drivername!r}", key="--db", hint=hint)
        if not url.database and "service" not in url.query and "dbname" not in url.query:
            hint = "postgresql://USER@HOST/DATABASE, or postgresql://?service=NAME"
            raise ConfigError(f"{self.shown} names no database", key="--db", hint=hint)
        if url.password is not None or "password" in url.query:
            _log.warning(
                "a password in --db is seen by all users of this machine: ~/.pgpass is for it"
            )
        self._url = url.set(drivername="postgresql+psycopg")

    def engine(self, *, read_only: bool) -> Engine:
        """Return what makes connections."""
        try:
            engine = create_engine(
                self._url,
                poolclass=QueuePool,
                pool_size=READERS if read_only else 1,
                max_overflow=0,
                # A connection that was lost while nobody used it is replaced before it is used.
                pool_pre_ping=True,
                connect_args=self._arguments(),
                isolation_level="REPEATABLE READ" if read_only else "READ COMMITTED",
                hide_parameters=True,  # no output and no hash ever goes into a log
            )
        except ModuleNotFoundError as error:
            hint = "pip install 'palm-cluster[postgres]'"
            raise ConfigError("PostgreSQL needs psycopg", key="--db", hint=hint) from error
        event.listen(engine, "connect", self._set_up_reading if read_only else self._set_up_writing)
        return engine

    def _arguments(self) -> dict[str, Any]:
        """What libpq is told unless the address says otherwise."""
        usual: dict[str, Any] = {
            "connect_timeout": _CONNECT,
            "fallback_application_name": f"palm registry {os.getpid()} on {os.uname().nodename}",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
        }
        if self._is_elsewhere() and "PGSSLMODE" not in os.environ:
            # Who can change what is read can have programs run.
            usual["sslmode"] = "verify-full"
        found = {name: value for name, value in usual.items() if name not in self._url.query}
        return {**found, "client_encoding": "utf8"}

    def _is_elsewhere(self) -> bool:
        """Whether the way to the server may lead over a network; a service says all by itself."""
        url = self._url
        if "service" in url.query:
            return False
        hosts = ",".join(
            [
                url.host or _joined(url.query.get("host")) or os.environ.get("PGHOST", ""),
                _joined(url.query.get("hostaddr")) or os.environ.get("PGHOSTADDR", ""),
            ]
        )
        # What begins like that is the folder of a socket.
        return any(h and h[0] not in "/@" and not is_loopback(h) for h in hosts.split(","))

    def _set_up_reading(self, connection: Any, _record: Any) -> None:
        with _setting_up(connection):
            _configure(connection, {**_SETTINGS, "statement_timeout": f"{_READ}s"})
        connection.read_only = True

    def _set_up_writing(self, connection: Any, _record: Any) -> None:
        with _setting_up(connection):
            _configure(connection, _SETTINGS)
            connection.execute(_DURABLE)
            self._lock(connection)

    def _lock(self, connection: Any) -> None:
        """Keep other registries out until the connection ends.

        Raises
        ------
        Taken
            Another one is there.
        """
        try:
            connection.execute(_TAKE_LOCK)
        except Exception as error:
            if getattr(error, "sqlstate", None) != "55P03":
                raise
            holder = connection.execute(_HOLDER).fetchone()
            name = holder[0] or f"connection {holder[1]}" if holder else "it has just ended"
            raise Taken(f"another registry uses the database {self.shown}: {name}") from error

    def check(self, connection: Connection) -> None:
        """Look at the server's settings."""
        version: Any = connection.dialect.server_version_info or (0,)
        encoding, standby, fsync = connection.execute(
            text(
                "SELECT current_setting('server_encoding'), pg_is_in_recovery(),"
                " current_setting('fsync')"
            )
        ).one()
        if version[0] < OLDEST:
            hint = f"PostgreSQL {OLDEST} or later"
            raise ConfigError(f"{self.shown} is of PostgreSQL {version[0]}", hint=hint)
        if encoding != "UTF8":
            hint = "createdb --encoding=UTF8 --template=template0 DATABASE"
            raise ConfigError(f"the database {self.shown} is in {encoding}", hint=hint)
        if standby:
            raise ConfigError(f"{self.shown} is a standby", hint="name the primary server")
        if fsync == "off":
            _log.warning("a power cut may damage %s: its server has fsync off", self.shown)

    def make_shrinkable(self, engine: Engine) -> None:
        """Do nothing: the server looks after its files."""

    def checkpoint(self, engine: Engine) -> None:
        """Do nothing, likewise."""

    def is_over(self, error: DBAPIError) -> bool:
        """Say whether the connection is lost: all else is undone back to a savepoint."""
        return error.connection_invalidated

    def is_lost(self, error: DBAPIError) -> bool:
        """Say whether the server has gone, or does not let anybody in yet."""
        state = getattr(error.orig, "sqlstate", None)
        away = state is None or state.startswith(_AWAY)
        return error.connection_invalidated or (
            isinstance(error, OperationalError | InterfaceError) and away
        )


@contextmanager
def _setting_up(connection: Any) -> Iterator[None]:
    """Let each statement stand for itself; close a connection that cannot be used."""
    try:
        connection.adapters.register_dumper(str, _text_dumper())
        connection.autocommit = True
        yield
        connection.autocommit = False
    except BaseException:
        connection.close()
        raise


def _configure(connection: Any, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        connection.execute(_SET, {"name": name, "value": value})


def _text_dumper() -> type[Any]:
    """Return what turns text into what PostgreSQL takes: a NUL, which it does not, is replaced.

    The last words of a program may hold one, and must not keep all that is known of it away.
    """
    from psycopg.adapt import Dumper  # optional: most registries have no PostgreSQL

    class Text(Dumper):
        def dump(self, obj: Any) -> bytes:
            return str(obj).replace("\0", "\N{REPLACEMENT CHARACTER}").encode()

    return Text


def _joined(values: str | tuple[str, ...] | None) -> str:
    return values if isinstance(values, str) else ",".join(values or ())


def _shown(url: URL) -> str:
    """The address without its secrets."""
    kept = {name: value for name, value in url.query.items() if name in ("host", "port", "service")}
    return url.set(drivername="postgresql", password=None, query=kept).render_as_string()

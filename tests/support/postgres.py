"""Servers of PostgreSQL for tests: of Debian's package, in a folder of their own, on a socket."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from tests.support.requirements import postgres_folder, require_postgres
from tests.support.session import VARIABLE, new_folder

__all__ = ["Server", "database_url", "own_server", "postgres_server"]

#: Fast, since a power cut takes the tests with it; small; and nobody comes by the network.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",  # the registry asks for more
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",
}
#: Who may get in: one role by its password, all others since they can open the socket.
ACCESS = "local all secretive scram-sha-256\nlocal all all trust\n"
#: What there is in a database beside what belongs to the server.
_SCHEMAS = """
    SELECT quote_ident(nspname) FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
"""


class Server:
    """A server of PostgreSQL; its databases belong to ``palm``, who may do nothing else.

    It is no child of a process of the tests, and is ended by its number; or, should they be
    killed, by `tests.support.session`.
    """

    def __init__(self) -> None:
        self._bin = postgres_folder()
        self._numbers = itertools.count()
        self._empty: list[str] = []
        self.folder = new_folder("pg-")
        self.pid = 0
        self._user: dict[str, object] = {}
        if os.geteuid() == 0:  # as whom initdb refuses to run
            user = _unprivileged()
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._run("initdb", "-U", "admin", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
        settings = SETTINGS | {"unix_socket_directories": str(self.folder)}
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        (self.data / "pg_hba.conf").write_text(ACCESS)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), "-D", str(self.data), *arguments]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            # Nothing of the test that happens to start it, but whose it is.
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", VARIABLE: os.environ[VARIABLE]},
            check=False,
            **self._user,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, done.stdout.decode()

    def start(self) -> Server:
        self._run("pg_ctl", "-w", "-t", "60", "-s", "-l", str(self.folder / "log"), "start")
        first = self.pid == 0
        self.pid = int((self.data / "postmaster.pid").read_text().split()[0])
        if first:
            self.execute("CREATE ROLE palm LOGIN")
            self.execute("CREATE ROLE stranger LOGIN")
            self.execute("CREATE ROLE secretive LOGIN PASSWORD 'open sesame'")
        return self

    def stop(self) -> None:
        """End it at once, in order."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """End all of its processes as a power cut would."""
        processes = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        for process in processes:
            process.kill()
        _gone(processes)

    def shut_down_immediately(self) -> None:
        """End it without finishing anything, as an administrator may in need."""
        self._end(signal.SIGQUIT)

    def _end(self, number: int) -> None:
        processes = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        os.kill(self.pid, number)
        _gone(processes)

    def remove(self) -> None:
        if psutil.pid_exists(self.pid):
            self.stop()
        shutil.rmtree(self.folder)

    # ---- what is in it

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Do something as the administrator."""
        import psycopg  # all tests of the registry come by here, and few need it

        with psycopg.connect(
            host=str(self.folder),
            user="admin",
            dbname=database,
            autocommit=True,
            options="-c synchronous_commit=on",
        ) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def new_database(self, options: str = "") -> str:
        """Make a database; return its name."""
        name = f"registry_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} OWNER palm {options}")
        return name

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """Lend a database with nothing in it: emptying one takes less than making one."""
        name = self._empty.pop() if self._empty else self.new_database()
        yield name
        self.end_connections(name)
        for (schema,) in self.execute(_SCHEMAS, name):
            self.execute(f"DROP SCHEMA {schema} CASCADE", name)
        self.execute("CREATE SCHEMA public AUTHORIZATION palm", name)
        self.execute("GRANT USAGE ON SCHEMA public TO PUBLIC", name)
        self._empty.append(name)

    def end_connections(self, name: str) -> None:
        """End all connections to a database, as an administrator may."""
        self.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            f" WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        )

    def url(self, database: str, user: str = "palm") -> str:
        return f"postgresql://{user}@/{database}?host={quote(str(self.folder), safe='')}"


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return pwd.getpwuid(65534)


def _gone(processes: list[psutil.Process]) -> None:
    """Wait until nothing is left of processes, which are not our children.

    A server does not start while there is a process of the number of the one before.
    """
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A server for all tests of a session; a test that ends or stops it has one of its own."""
    require_postgres()
    server = Server()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that the test may end as it likes."""
    require_postgres()
    server = Server()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A new database for the test, if it is marked ``both_databases``; else, and at first, "".

    Empty, it is the one that a registry has if it is told nothing: of SQLite, in its folder.
    """
    if not getattr(request, "param", ""):
        yield ""
        return
    server: Server = request.getfixturevalue("postgres_server")
    with server.empty_database() as name:
        yield server.url(name)

"""A server of PostgreSQL for a measurement: with the settings of its makers, in a short folder."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from benchmarks.processes import BOUND, BrokenError

__all__ = ["Server"]

#: Only who can open the socket gets in, and only this user can.
SETTINGS = {"listen_addresses": "", "unix_socket_permissions": "0700"}


class Server:
    """A server that ends with the ``with`` block. Commits are on disk before they are answered."""

    def __init__(self) -> None:
        self._bin = _folder()
        self._numbers = itertools.count()
        self.folder = Path(tempfile.mkdtemp(prefix="pb-pg-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:  # as whom initdb refuses to run
            user = _unprivileged()
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def __enter__(self) -> Self:
        data = self.folder / "data"
        self._run("initdb", "-D", str(data), "-U", "palm", "-A", "trust", "-E", "UTF8")
        settings = SETTINGS | {"unix_socket_directories": str(self.folder)}
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._options(),
            )
        try:
            self._await()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # end at once, in order
            self._process.wait(BOUND)
        shutil.rmtree(self.folder)

    def _await(self) -> None:
        until = time.monotonic() + BOUND
        while True:
            try:
                self._run("pg_isready", "-q", "-h", str(self.folder), "-U", "palm")
                return
            except BrokenError as error:
                if time.monotonic() > until:
                    log = (self.folder / "log").read_text(errors="replace")
                    raise BrokenError(f"PostgreSQL did not come up\n{log}") from error
            time.sleep(0.05)

    def new_database(self) -> str:
        """Make an empty database, and return its address."""
        name = f"registry_{next(self._numbers)}"
        self._run("psql", "-h", str(self.folder), "-U", "palm", "-q", "-d", "postgres",
                  "-c", f"CREATE DATABASE {name}")  # fmt: skip
        return f"postgresql://palm@/{name}?host={quote(str(self.folder), safe='')}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            **self._options(),
        )
        if done.returncode:
            raise BrokenError(f"{program}: {done.stdout.decode(errors='replace').strip()}")

    def _options(self) -> dict[str, Any]:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        return {"cwd": self.folder, "env": environment, **self._user}


def _folder() -> Path:
    """Return where its programs are: ``POSTGRES_BIN``, the newest of Debian's, or the path."""
    if named := os.environ.get("POSTGRES_BIN"):
        return Path(named)
    packages = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    newest = max(packages, key=lambda path: int(path.parent.name), default=None)
    if newest is None and (found := shutil.which("initdb")):
        return Path(found).parent
    if newest is None:
        raise BrokenError("there is no PostgreSQL (apt-get install postgresql, or POSTGRES_BIN)")
    return newest


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return pwd.getpwuid(65534)

"""How a registry is to run: from the command line and the environment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from palm.errors import ConfigError
from palm.spec.autoscale import SHRINK_AFTER
from palm.spec.duration import format_duration, parse_duration
from palm.spec.endpoint import is_loopback
from palm.spec.size import format_size, parse_size
from palm_registry.watch import MOVE_AFTER

__all__ = ["EXPOSED", "Orders", "Settings", "parse"]

T = TypeVar("T")

#: The option for those who have read what it says.
EXPOSED = "--i-understand-this-exposes-code-execution"
#: Output that is kept by default: bytes, and seconds.
RETAIN_SIZE = 10 * 1024**3
RETAIN_AGE = 30 * 86400.0


@dataclass(frozen=True)
class Settings:
    """One registry. ``linger`` None: it never ends by itself; else seconds without a cluster.

    ``move_after``: seconds that a lost node has to come back before what it had goes elsewhere.
    ``shrink_after``: seconds for which fewer replicas must do before one that scales itself has
    fewer.

    ``run`` and ``state`` are the folders that all of palm shares; ``database`` is a URL.
    ``retain_size`` (bytes) and ``retain_age`` (seconds) say how much output is kept, None: all.
    ``tls``: with a certificate of its own making; or with that of ``certfile`` and ``keyfile``.
    ``hostnames`` are further names by which it is called, NAME or NAME:PORT.
    """

    run: Path
    state: Path
    host: str = "127.0.0.1"
    port: int = 0
    database: str = ""
    linger: float | None = None
    retain_size: int | None = RETAIN_SIZE
    retain_age: float | None = RETAIN_AGE
    tls: bool = False
    certfile: Path | None = None
    keyfile: Path | None = None
    hostnames: tuple[str, ...] = ()
    exposed: bool = False
    move_after: float = MOVE_AFTER
    shrink_after: float = SHRINK_AFTER

    def __post_init__(self) -> None:
        self._check_certificate()
        self._check_host()
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"there is no port {self.port}", key="--port", hint="0: any free one")
        if self.linger is not None and not self.linger >= 0:
            raise ConfigError(f"{self.linger} seconds", key="--linger")
        if not self.move_after >= 0:
            raise ConfigError(f"{self.move_after} seconds", key="--move-after", hint="from 0 on")
        if not self.shrink_after >= 0:
            raise ConfigError(
                f"{self.shrink_after} seconds", key="--shrink-after", hint="from 0 on"
            )

    def _check_certificate(self) -> None:
        if self.tls and self.certfile is not None:
            hint = "leave one of --tls and --certfile out"
            raise ConfigError("a certificate is either made or given", key="--tls", hint=hint)
        if self.keyfile is not None and self.certfile is None:
            raise ConfigError("a key without a certificate", key="--keyfile", hint="add --certfile")

    def _check_host(self) -> None:
        if not self.host:
            hint = "127.0.0.1, or a name or an address of this machine"
            raise ConfigError("the registry has to listen somewhere", key="--host", hint=hint)
        if is_loopback(self.host) or self.secure or self.exposed:
            return
        raise ConfigError(
            f"who reaches {self.host!r} can read the token on its way, and start programs with it",
            key="--host",
            hint="add --tls, or --certfile and --keyfile; or stay at 127.0.0.1, the default, and "
            "come by an SSH tunnel",
        )

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.tls or self.certfile is not None

    @property
    def database_url(self) -> str:
        """The database, in the state folder if none was given."""
        return self.database or f"sqlite:///{self.state / 'registry.db'}"

    def arguments(self) -> list[str]:
        """Return the command line that `parse` reads as the same, from any folder."""
        found = ["--host", self.host, "--port", str(self.port)]
        found += ["--run-dir", str(self.run), "--state-dir", str(self.state)]
        found += ["--retain-size", format_size(self.retain_size)]
        found += ["--retain-age", format_duration(self.retain_age)]
        found += ["--move-after", f"{self.move_after:g}"]
        found += ["--shrink-after", f"{self.shrink_after:g}"]
        more = {"--db": self.database}
        more |= {"--certfile": _absolute(self.certfile), "--keyfile": _absolute(self.keyfile)}
        more |= {"--linger": "" if self.linger is None else f"{self.linger:g}"}
        found += [part for option, value in more.items() if value for part in (option, value)]
        for name in self.hostnames:
            found += ["--hostname", name]
        return found + ["--tls"] * self.tls + [EXPOSED] * self.exposed


@dataclass(frozen=True)
class Orders:
    """What ``python -m palm_registry`` is to do: be a registry with these settings, or less.

    ``check``: only say whether it could; ``backup``: only copy the database there.
    """

    settings: Settings
    json: bool = False
    check: bool = False
    backup: Path | None = None
    force: bool = False


def _absolute(path: Path | None) -> str:
    return "" if path is None else str(path.absolute())


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Orders:
    """Read the command line; folders that it leaves out come from the environment."""
    given = _parser().parse_args(arguments)
    settings = Settings(
        run=_folder(given.run_dir, environ, "PALM_RUN_DIR"),
        state=_folder(given.state_dir, environ, "PALM_STATE_DIR"),
        host=given.host,
        port=given.port,
        database=given.db,
        linger=given.linger,
        move_after=given.move_after,
        shrink_after=given.shrink_after,
        retain_size=given.retain_size,
        retain_age=given.retain_age,
        tls=given.tls,
        certfile=given.certfile,
        keyfile=given.keyfile,
        hostnames=tuple(given.hostname),
        exposed=given.exposed,
    )
    return Orders(settings, given.json, given.check, given.backup, given.force)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m palm_registry",
        description="Keep what clusters are to be, what they are, and what they say.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="where to listen (127.0.0.1); elsewhere with TLS")
    add("--port", type=int, default=0, help="0: any free one (default)")
    add("--db", default="", metavar="URL",
        help="sqlite:///PATH (in the state folder) or postgresql://USER@HOST/DATABASE")  # fmt: skip
    add("--run-dir", type=Path, metavar="PATH")
    add("--state-dir", type=Path, metavar="PATH")
    add("--linger", type=float, metavar="SECONDS", help="end when no cluster was alive for so long")
    add("--move-after", type=float, default=MOVE_AFTER, metavar="SECONDS",
        help="what a lost node had goes to other nodes after so long (%(default)g)")  # fmt: skip
    add("--shrink-after", type=float, default=SHRINK_AFTER, metavar="SECONDS",
        help="what scales itself shrinks after so long with less load (%(default)g)")  # fmt: skip
    add("--retain-size", type=_read(parse_size), default=RETAIN_SIZE, metavar="SIZE",
        help="output to keep at most: 500M, 10G (default), none: all")  # fmt: skip
    add("--retain-age", type=_read(parse_duration), default=RETAIN_AGE, metavar="TIME",
        help="for how long: 12h, 30d (default), forever")  # fmt: skip
    add("--tls", action="store_true", help="speak TLS, with a certificate of its own making")
    add("--certfile", type=Path, metavar="FILE", help="speak TLS, with this certificate")
    add("--keyfile", type=Path, metavar="FILE", help="and this key")
    add("--hostname", action="append", default=[], metavar="NAME[:PORT]",
        help="a further name by which it is called")  # fmt: skip
    add(EXPOSED, dest="exposed", action="store_true", help="listen elsewhere even without TLS")
    add("--json", action="store_true", help="print where it listens, as JSON")
    add("--check", action="store_true", help="only say whether it could start")
    add("--backup", type=Path, metavar="FILE", help="only copy the database, into FILE")
    add("--force", action="store_true", help="with --backup: also if FILE is there")
    return parser


def _read(parse: Callable[[str], T]) -> Callable[[str], T]:
    def read(text: str) -> T:
        try:
            return parse(text)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def _folder(given: Path | None, environ: Mapping[str, str], variable: str) -> Path:
    path = given or Path(environ.get(variable) or _default(variable))
    if not path.is_absolute():
        raise ConfigError(f"{str(path)!r} is not an absolute path", key=variable)
    return path


def _default(variable: str) -> str:
    # The same places as palm.runtime.folders, which the registry may not import.
    import pwd

    state = Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".local" / "state" / "palm"
    if variable == "PALM_STATE_DIR":
        return str(state)
    host = "".join(c if c.isalnum() or c in "._-" else "_" for c in os.uname().nodename)
    return str(state / "run" / (host.strip(".") or "localhost"))

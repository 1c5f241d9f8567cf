"""How a registry is to run: from the command line and the environment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from palm.errors import ConfigError
from palm_registry.watch import MOVE_AFTER

__all__ = ["Settings", "parse"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Settings:
    """One registry. ``linger`` None: it never ends by itself; else seconds without a cluster.

    ``move_after``: seconds that a lost node has to come back before what it had goes elsewhere.

    ``run`` and ``state`` are the folders that all of palm shares; ``database`` is a URL.
    """

    run: Path
    state: Path
    host: str = "127.0.0.1"
    port: int = 0
    database: str = ""
    linger: float | None = None
    #: Bytes of the database, and seconds, beyond which the oldest output is dropped.
    retain_size: int | None = 10 * 1024**3
    retain_age: float | None = 30 * 86400.0
    move_after: float = MOVE_AFTER

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK:
            raise ConfigError(
                f"the registry does not listen on {self.host!r} yet",
                key="--host",
                hint="whoever reaches it can start programs: 127.0.0.1, and an SSH tunnel",
            )
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"there is no port {self.port}", key="--port", hint="0: any free one")
        if self.linger is not None and not self.linger >= 0:
            raise ConfigError(f"{self.linger} seconds", key="--linger")
        if not self.move_after >= 0:
            raise ConfigError(f"{self.move_after} seconds", key="--move-after", hint="from 0 on")

    @property
    def database_url(self) -> str:
        """The database, in the state folder if none was given."""
        return self.database or f"sqlite:///{self.state / 'registry.db'}"


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Read the command line; folders that it leaves out come from the environment."""
    parser = argparse.ArgumentParser(
        prog="python -m palm_registry",
        description="Keep what clusters are to be, what they are, and what they say.",
        allow_abbrev=False,
    )
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (default)")
    parser.add_argument(
        "--db",
        default="",
        metavar="URL",
        help="sqlite:///PATH (default: in the state folder) or postgresql://USER@HOST/DATABASE",
    )
    parser.add_argument("--run-dir", type=Path, metavar="PATH")
    parser.add_argument("--state-dir", type=Path, metavar="PATH")
    parser.add_argument(
        "--linger", type=float, metavar="SECONDS", help="end when no cluster was alive for so long"
    )
    parser.add_argument(
        "--move-after", type=float, default=MOVE_AFTER, metavar="SECONDS",
        help="what a lost node had goes to other nodes after so long (default: %(default)g)",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    return Settings(
        run=_folder(given.run_dir, environ, "PALM_RUN_DIR"),
        state=_folder(given.state_dir, environ, "PALM_STATE_DIR"),
        host=given.host,
        port=given.port,
        database=given.db,
        linger=given.linger,
        move_after=given.move_after,
    )


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

"""The two private folders of a user: *run* and *state*.

*run* holds what a running cluster needs (records, sockets) and may vanish at a reboot; *state*
holds what must not (keys, spool). On ipc the permissions of these folders are the
authentication, so each use checks that nobody else owns, reads or writes them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from palm.errors import ConfigError
from palm.files.privatefolder import check_ancestors, check_folder, private_folder
from palm.spec.endpoint import MAX_IPC_PATH
from palm.spec.names import check_name

__all__ = ["Folders", "cache_path", "check_folder", "journal_path", "private_folder", "socket_path"]


@dataclass(frozen=True)
class Folders:
    """Where the files of one cluster are. Folders are made, mode 0700, when first asked for."""

    run: Path
    state: Path
    cluster: str = "default"

    @classmethod
    def find(cls, environ: Mapping[str, str] | None = None, cluster: str | None = None) -> Folders:
        """Locate and make the folders of `cluster`, which beats ``PALM_CLUSTER``.

        Raises
        ------
        ConfigError
            Naming the variable to set or the command to run: the folder cannot be made, is not
            ours, or is open to others.
        """
        found = cls.locate(environ, cluster)
        found.check()
        return found

    @classmethod
    def locate(
        cls, environ: Mapping[str, str] | None = None, cluster: str | None = None
    ) -> Folders:
        """Say where the folders of `cluster` are, or would be; nothing is made or looked at.

        Raises
        ------
        ConfigError
            The name is none, or a variable has no absolute path.
        """
        env = os.environ if environ is None else environ
        name = check_name(cluster or env.get("PALM_CLUSTER") or "default")
        state = _from_environment(env, "PALM_STATE_DIR") or _default_state()
        run = _from_environment(env, "PALM_RUN_DIR") or _default_run()
        return cls(run, state, name)

    def check(self) -> None:
        """Make both folders, unless they are there; raise as `find` does."""
        check_ancestors(self.state, "PALM_STATE_DIR")
        check_ancestors(self.run, "PALM_RUN_DIR")
        private_folder(self.state, "PALM_STATE_DIR")
        private_folder(self.run, "PALM_RUN_DIR")

    @property
    def components(self) -> Path:
        """Records and name locks."""
        return self._in_run("components")

    @property
    def sockets(self) -> Path:
        """The ipc sockets."""
        return self._in_run("sockets")

    @property
    def stages(self) -> Path:
        """Which stages are behind a component, for its next start."""
        return self._in_run("stages")

    @property
    def metrics(self) -> Path:
        """What components have counted."""
        return self._in_run("metrics")

    @property
    def cells(self) -> Path:
        """Sources that a notebook handed to its components."""
        return self._in_run("cells")

    @property
    def keys(self) -> Path:
        """The key file of each role."""
        private_folder(self.state / self.cluster, "PALM_STATE_DIR")
        return private_folder(self.state / self.cluster / "keys", "PALM_STATE_DIR")

    @property
    def spool(self) -> Path:
        """Output and state of supervised processes, one folder an instance."""
        return private_folder(self.state / "spool", "PALM_STATE_DIR")

    def _in_run(self, part: str) -> Path:
        private_folder(self.run / self.cluster, "PALM_RUN_DIR")
        return private_folder(self.run / self.cluster / part, "PALM_RUN_DIR")


def socket_path(folders: Folders, name: str, port: str) -> Path:
    """Return the path of the ipc socket for `port` ("pull", "db", ...) of component `name`.

    The same for every process, so that a peer may look at it before the component is there. The
    name is hashed because a socket's path is short: at most 107 bytes.
    """
    from hashlib import sha256  # loads OpenSSL, which a process that only looks up names can spare

    path = folders.sockets / sha256(f"{name}/{port}".encode()).hexdigest()[:12]
    size = len(os.fsencode(path))
    if size > MAX_IPC_PATH:
        raise ConfigError(
            f"the socket {path} would need {size} bytes, and the system takes {MAX_IPC_PATH}",
            key="PALM_RUN_DIR",
            hint="set PALM_RUN_DIR to a folder with a shorter path",
        )
    return path


def journal_path(folders: Folders, master: str) -> Path:
    """Return where the journal of a master is; its folder is made if it is not there."""
    cluster = private_folder(folders.state / folders.cluster, "PALM_STATE_DIR")
    return private_folder(cluster / "journal", "PALM_STATE_DIR") / f"{master}.db"


def cache_path(folders: Folders, master: str) -> Path:
    """Return where the cache of a master is; its folder is made if it is not there."""
    cluster = private_folder(folders.state / folders.cluster, "PALM_STATE_DIR")
    return private_folder(cluster / "cache", "PALM_STATE_DIR") / f"{master}.db"


def joined_path(folders: Folders, name: str) -> Path:
    """Return where what a component has joined is; its folder is made if it is not there."""
    cluster = private_folder(folders.state / folders.cluster, "PALM_STATE_DIR")
    return private_folder(cluster / "joined", "PALM_STATE_DIR") / f"{name}.db"


def _from_environment(env: Mapping[str, str], variable: str) -> Path | None:
    value = env.get(variable)
    if not value:
        return None
    path = Path(value).expanduser() if value.startswith("~") else Path(value)
    if not path.is_absolute():
        raise ConfigError(
            f"{value!r} is not an absolute path",
            key=variable,
            hint="a relative one would mean another folder in each process",
        )
    return path


def _default_state() -> Path:
    return _home() / ".local" / "state" / "palm"


def _default_run() -> Path:
    # A home may be shared by machines; sockets and process ids are not.
    host = "".join(c if c.isalnum() or c in "._-" else "_" for c in os.uname().nodename)
    return _default_state() / "run" / (host.strip(".") or "localhost")


def _home() -> Path:
    # Not HOME, which differs between a shell, sudo, cron and a service.
    import pwd

    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        pass  # a user id without an entry, as in many containers
    if home := os.environ.get("HOME"):
        return Path(home)
    raise ConfigError(
        f"user {os.geteuid()} has no home folder",
        key="PALM_STATE_DIR",
        hint="set PALM_RUN_DIR and PALM_STATE_DIR",
    )

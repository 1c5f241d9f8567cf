"""A unit of systemd that runs a cluster: its text, its file, and word to systemd when all is up.

The unit's process is the runner. ``KillMode=process`` leaves components, and the registry, to the
next one: ``systemctl --user restart`` interrupts no work. What ends the cluster is ``palm down``.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from palm.runtime.folders import Folders

__all__ = ["Notifier", "UnitFile", "unit_text", "user_manager_runs"]

_DIGEST = re.compile(r"^# digest: ([0-9a-f]{64})$", re.MULTILINE)
_HEAD = """\
# Written by palm up --install, which keeps what is changed by hand unless told --replace.
# digest: {digest}
"""
# Nothing here narrows what components may do: they are the user's own programs, and for a user's
# manager every sandbox forbids sudo, too. Output goes to the registry, and not to the journal.
_BODY = """\
[Unit]
Description=palm cluster {cluster}

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
{environment}
WorkingDirectory={folder}
# Components and the registry outlive the runner, and the next one adopts them.
KillMode=process
# palm down ends the runner with 0, and then it is not started again.
Restart=on-failure
RestartSec=5
TimeoutStartSec=180
TimeoutStopSec=30
# A component that takes too much memory must not end the others.
OOMPolicy=continue

[Install]
WantedBy=default.target
"""


def unit_text(
    folders: Folders, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> str:
    """Return the unit of a cluster.

    Parameters
    ----------
    command
        What becomes the runner; paths in it are absolute.
    environment
        Variables besides those of the folders.
    """
    found = {"PALM_RUN_DIR": str(folders.run), "PALM_STATE_DIR": str(folders.state)}
    found |= environment or {}
    lines = [f"Environment={_quoted(f'{name}={value}')}" for name, value in found.items()]
    body = _BODY.format(
        cluster=folders.cluster,
        command=" ".join(_quoted(word).replace("$", "$$") for word in command),
        environment="\n".join(lines),
        folder=str(folders.state).replace("%", "%%"),
    )
    return _HEAD.format(digest=_digest(body)) + body


def _quoted(word: str) -> str:
    """A word as systemd reads it."""
    word = word.replace("%", "%%")
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./-]+", word):
        return word
    inner = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{inner}"'


def _digest(body: str) -> str:
    return sha256(body.encode()).hexdigest()


class UnitFile:
    """The file of a cluster's unit, where the user's manager finds it."""

    def __init__(self, cluster: str, environ: Mapping[str, str] | None = None) -> None:
        env = os.environ if environ is None else environ
        config = Path(env.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        self.name = f"palm-{cluster}.service"
        self.path = config / "systemd" / "user" / self.name

    def read(self) -> str | None:
        """Return what is there, None if nothing is."""
        try:
            return self.path.read_text("utf-8", "surrogateescape")
        except FileNotFoundError:
            return None

    @property
    def is_changed(self) -> bool:
        """Whether it is there, and is not as `write` has left it."""
        text = self.read()
        if text is None:
            return False
        found = _DIGEST.search(text)
        return found is None or found[1] != _digest(text[found.end() + 1 :])

    def write(self, text: str) -> bool:
        """Put a text in the place of the file; say whether that changes anything."""
        if self.read() == text:
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.name}.{os.urandom(4).hex()}.tmp")
        try:
            temporary.write_text(text, "utf-8")
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def remove(self) -> bool:
        """Remove the file; say whether it was there."""
        there = self.path.exists()
        self.path.unlink(missing_ok=True)
        return there


def user_manager_runs(environ: Mapping[str, str] | None = None) -> bool:
    """Whether systemd looks after this user's services here."""
    env = os.environ if environ is None else environ
    runtime = env.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return Path(runtime, "systemd").is_dir()


class Notifier:
    """Tells systemd how far its service is, if that waits for word (sd_notify(3))."""

    def __init__(self, address: str = "") -> None:
        self._address = address

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Take the address out of an environment, so that no child speaks in our name."""
        return cls(environ.pop("NOTIFY_SOCKET", ""))

    def ready(self) -> None:
        """Say that all is up."""
        self._say("READY=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._say("STOPPING=1")

    def _say(self, text: str) -> None:
        if not self._address:
            return
        # The first byte of an abstract address is 0, which a variable cannot have.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
            sender.sendto(text.encode(), address)

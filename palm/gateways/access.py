"""Who may ask: tokens, and what a browser could be made to send for somebody else."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import Final

from palm.errors import ConfigError
from palm.files import privatefile
from palm.gateways.answers import Refused
from palm.runtime.folders import Folders, private_folder

__all__ = ["Access", "make_token", "read_token"]

#: Characters; one that can be guessed is worse than none.
MIN_TOKEN: Final = 16
MAX_TOKEN: Final = 4096


class Access:
    """Knows the token, and by which names the server may be called.

    Parameters
    ----------
    hosts
        What ``Host`` may be (None: anything; then the token alone decides).
    """

    def __init__(self, token: str, hosts: Collection[str] | None = None) -> None:
        self._expected = b"Bearer " + check_token(token).encode()
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    def check_place(self, host: str | None, origin: str | None, scheme: str) -> None:
        """Refuse who came by a name that is not ours, and pages from elsewhere.

        A foreign page can have its own name lead here (DNS rebinding), and have a browser send
        what it likes (CSRF); the browser says so in these two headers.
        """
        host = (host or "").lower()
        if self._hosts is not None and host not in self._hosts:
            raise Refused(403, "ForeignHost", "this server is not known by that name")
        own = (f"{scheme}://{host}", f"https://{host}")  # a proxy may speak TLS for us
        if origin is not None and origin.lower() not in own:
            raise Refused(403, "ForeignOrigin", "pages from elsewhere may not call functions")

    def check_token(self, authorization: str | None) -> None:
        """Refuse who does not have the token; takes as long for any that is wrong."""
        sent = (authorization or "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(sent, self._expected):
            raise Refused(
                401,
                "Unauthorized",
                "send the token: Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )


def check_token(token: str) -> str:
    """Return a token that can be one."""
    if len(token) < MIN_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigError(
            "this is not a token",
            key="token",
            hint=f"{MIN_TOKEN} printable characters or more, without spaces",
        )
    return token


def read_token(path: Path) -> str:
    """Return the token in a file, once it is proven that nobody else can read it.

    Raises
    ------
    ConfigError, AuthenticationError
        There is none, or it is open to others.
    """
    data = privatefile.read(path, "token file", MAX_TOKEN)
    return check_token(data.decode("ascii", "replace").strip())


def make_token(folders: Folders, name: str) -> Path:
    """Return the file with the token of a component, and make both if they are not there.

    It stays: whoever has the token need not be told a new one after a restart.
    """
    cluster = private_folder(folders.state / folders.cluster, "PALM_STATE_DIR")
    path = private_folder(cluster / "tokens", "PALM_STATE_DIR") / name
    if not path.exists():
        privatefile.create(path, f"{secrets.token_urlsafe(32)}\n".encode())
    return path

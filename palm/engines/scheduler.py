"""Where the scheduler of a Dask cluster is, and how it is reached."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from palm.errors import ConfigError, ConnectTimeout

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ANSWER_WITHIN", "PREFIX", "Scheduler", "dask_library", "parse_scheduler"]

#: How a scheduler is named where there may be other things.
PREFIX: Final = "dask://"
#: Seconds in which it must answer.
ANSWER_WITHIN: Final = 30.0


@dataclass(frozen=True, slots=True)
class Scheduler:
    """A scheduler at ``host`` and ``port``; ``tls`` is the folder of the files to reach it by."""

    host: str
    port: int
    tls: Path | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{PREFIX}{host}:{self.port}"

    def connect(self, within: float = ANSWER_WITHIN) -> Any:
        """Return a ``distributed.Client`` of its own.

        Raises
        ------
        ConfigError
            Dask is not installed here.
        ConnectTimeout
            Nobody answers, or not as a scheduler does.
        """
        distributed = dask_library()
        security = self._security(distributed)
        scheme = "tls" if security.require_encryption else "tcp"
        try:
            # A client that is not answered leaves a thread behind; but a scheduler of TLS takes a
            # connection that says nothing for an error.
            if scheme == "tcp":
                socket.create_connection((self.host, self.port), within).close()
            address = str(self).replace(PREFIX, f"{scheme}://")
            return distributed.Client(
                address, timeout=within, set_as_default=False, name="palm", security=security
            )
        except (OSError, TimeoutError) as error:
            text = f"no scheduler of Dask answers at {self} ({error})"
            raise ConnectTimeout(text, name=str(self)) from error

    def listens(self, within: float = 3.0) -> bool:
        """Whether anybody takes connections there."""
        try:
            socket.create_connection((self.host, self.port), within).close()
        except OSError:
            return False
        return True

    def _security(self, distributed: Any) -> Any:
        """Return what Dask's own configuration says, unless there are files for this scheduler."""
        if self.tls is None:
            return distributed.Security()
        files = {"ca": "tls_ca_file", "cert": "tls_client_cert", "key": "tls_client_key"}
        paths = {field: str(self.tls / f"{name}.pem") for name, field in files.items()}
        return distributed.Security(require_encryption=True, **paths)


def parse_scheduler(text: str) -> Scheduler:
    """Read ``dask://HOST:PORT``, or ``HOST:PORT``, also with another scheme that Dask writes.

    Raises
    ------
    ConfigError
        It is none.
    """
    scheme, found, rest = text.rpartition("://")
    if found and scheme not in ("dask", "tcp", "tls"):
        raise ConfigError(
            f"a scheduler of Dask at {scheme}:// is in reach of its own process only",
            key="dask",
            hint="one that listens on tcp, as LocalCluster(processes=True)",
        )
    host, _, port = rest.strip("/").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"{text!r} is no address", key="dask", hint="HOST:PORT, as of 8786")
    return Scheduler(host, int(port))


def dask_library() -> Any:
    """Return the package of Dask's clusters.

    Raises
    ------
    ConfigError
        It is not installed; with the way out.
    """
    try:
        import distributed  # an extra: few need it, and it takes a second to load
    except ImportError as error:
        raise ConfigError(
            f"Dask is not installed here ({error})",
            key="dask",
            hint='pip install "palm-cluster[dask]"',
        ) from error
    return distributed

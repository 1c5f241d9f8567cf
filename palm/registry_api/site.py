"""Where a registry is, and what is said of one that is not there."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from palm.errors import ConfigError, RegistryError
from palm.registry_api import schema
from palm.registry_api.trust import Trust

__all__ = ["Site", "Unreachable", "Untrusted", "Whereabouts", "check_url"]

#: What OpenSSL says of a certificate that is of another host, and of another address.
_OTHER_NAME = (62, 64)


class Unreachable(RegistryError):  # noqa: N818 - says what happened, as palm's own errors do
    """Nobody answers at the registry's address."""


class Untrusted(Unreachable):
    """Who answers at the registry's address cannot prove to be the registry."""


class Whereabouts(NamedTuple):
    """Where a registry is, what it wants to see, and the certificate that it shows."""

    url: str
    token: str
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a registry is, and what it wants to see."""

    url: str
    https: bool
    host: str
    port: int | None
    path: str
    token: str
    trust: Trust

    @property
    def headers(self) -> dict[str, str]:
        """What goes with every request."""
        return {"Authorization": f"Bearer {self.token}", schema.API_HEADER: str(schema.API)}

    @classmethod
    def parse(cls, url: str, token: str, trust: Trust) -> Site:
        """Take an address apart; ConfigError if no registry could be there."""
        parts = _split(url)
        if parts.username is not None or parts.password is not None:
            raise ConfigError(
                f"the address of the registry at {parts.hostname} has a user or a password in it",
                hint="leave them out; who you are is told by the token in PALM_TOKEN_FILE",
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is not the address of a registry", hint="http://HOST:PORT/")
        slash = "" if url.endswith("/") else "/"
        path = parts.path if parts.path.endswith("/") else f"{parts.path}/"
        https = parts.scheme == "https"
        return cls(url + slash, https, parts.hostname, parts.port, path, token, trust)

    def unreachable(self, error: OSError | http.client.HTTPException) -> Unreachable:
        """Return what to raise for what went wrong on the way to it."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._untrusted(error)
        return Unreachable(f"the registry at {self.url} does not answer: {error}")

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> Untrusted:
        shown = f"who answers at {self.url} has no certificate that proves it to be the registry"
        how = "name the file with its certificate in PALM_CA_FILE"
        if error.verify_code in _OTHER_NAME:
            how = f"the registry must know that name: palm registry --hostname {self.host}"
        elif self.trust.ca_file:
            how = f"that in {self.trust.ca_file} is another, or of another time"
        return Untrusted(f"{shown}: {error.verify_message} ({how})")


def check_url(url: str) -> None:
    """Raise ConfigError unless a registry could be at an address."""
    Site.parse(url, "", Trust())


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(
            f"{url!r} is not the address of a registry: {error}", hint="http://HOST:PORT/"
        ) from error
    return parts

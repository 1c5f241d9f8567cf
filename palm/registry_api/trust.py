"""Whom a client takes for the registry: the certificate it was shown, or those of the system."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from hashlib import sha256

from palm.errors import ConfigError

__all__ = ["Trust"]

_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Trust:
    """How to know a registry that speaks TLS. With neither, by what the system trusts.

    ``ca_file`` has its certificate, or one that stands for it, and no other is taken;
    ``fingerprint`` is the SHA-256 of its certificate, in hexadecimal.
    """

    ca_file: str = ""
    fingerprint: str = ""

    @property
    def version(self) -> int:
        """Changes when the file does: the registry may have renewed its certificate."""
        try:
            return os.stat(self.ca_file).st_mtime_ns if self.ca_file else 0
        except OSError:
            return 0

    def context(self, host: str, port: int) -> ssl.SSLContext:
        """Return what makes connections to the registry at `host`, and to nobody else.

        Raises
        ------
        ConfigError
            The file cannot be used, or who listens there has another certificate.
        OSError
            Nobody listens there.
        """
        if self.ca_file:
            context = _pinned()
            try:
                context.load_verify_locations(self.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(
                    f"{self.ca_file} has no certificate of a registry: {error.args[-1]}",
                    key="PALM_CA_FILE",
                ) from error
            return context
        if self.fingerprint:
            context = _pinned()
            context.load_verify_locations(cadata=self._fetch(host, port))
            return context
        return ssl.create_default_context()

    def _fetch(self, host: str, port: int) -> str:
        # Nothing is said on this connection; the next one takes only what was found here.
        pem = ssl.get_server_certificate((host, port), timeout=_TIMEOUT)
        found = sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
        wanted = self.fingerprint.replace(":", "").lower()
        if found != wanted:
            raise ConfigError(
                f"who listens at {host}:{port} has a certificate with the fingerprint {found}, "
                f"and the registry's is {wanted}",
                hint="it was renewed, or somebody is in between",
            )
        return pem


def _pinned() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # What is in the file is trusted itself, whoever has signed it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context

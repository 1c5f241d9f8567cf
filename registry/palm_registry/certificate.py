"""The registry's certificate: one that was given, or one of its own making that it renews.

One of its own is for a client that is shown it by other means (``registry.json``, a copy of the
file, its fingerprint) and then trusts it and no other.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palm.errors import ConfigError
from palm.files import privatefile
from palm.files.privatefolder import private_folder
from palm.spec.endpoint import is_loopback
from palm_registry.settings import Settings

if TYPE_CHECKING:
    from cryptography.x509 import SubjectAlternativeName

__all__ = ["Certificate", "needs_renewal", "own_names"]

#: For how long one of our own is good, and how long before its end another takes its place.
LIFETIME = timedelta(days=825)
RENEW_BEFORE = timedelta(days=30)
#: A clock that is behind ours by so much takes it all the same.
_BACKDATED = timedelta(days=1)
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened at


class Certificate:
    """What the registry shows who connects; `refresh` is to be called now and then.

    Raises
    ------
    ConfigError
        It cannot be read, has no key that fits, or cannot be made.
    """

    def __init__(self, settings: Settings) -> None:
        self._names = own_names(settings.host, settings.hostnames)
        self._own_key: Path | None = None
        if settings.certfile is not None:
            self.path, self._key = settings.certfile.absolute(), settings.keyfile
        else:
            folder = private_folder(settings.state / "tls", "PALM_STATE_DIR")
            self.path = folder / "registry.crt"
            self._key = self._own_key = folder / "registry.key"
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        #: SHA-256 of it, as ``openssl x509 -fingerprint -sha256`` writes it.
        self.fingerprint = ""
        self._seen = b""
        self.refresh()

    def refresh(self) -> bool:
        """Renew it if its end is near, and use what is in its file; say if it is another."""
        if self._own_key is not None and _is_outdated(self.path, self._names):
            pem = _make(self._own_key, self._names)
            privatefile.replace(self.path, pem, durable=True)
        try:
            found = self.path.read_bytes()
            if found == self._seen:
                return False
            fingerprint = _fingerprint(found)
            self.context.load_cert_chain(self.path, self._key)
        except (OSError, ValueError) as error:  # ssl's are among them
            raise ConfigError(
                f"the certificate {self.path} cannot be used: {error.args[-1]}",
                key="--certfile",
                hint="PEM files: the certificate with those it depends on, and --keyfile its key",
            ) from error
        self._seen, self.fingerprint = found, fingerprint
        return True


def own_names(host: str, hostnames: Iterable[str]) -> tuple[str, ...]:
    """Return the names and addresses by which a registry at `host` may be called, without ports."""
    names = ["localhost", "127.0.0.1", "::1"]
    if not is_loopback(host):
        names += [socket.gethostname(), socket.getfqdn()]
        names += _addresses(socket.gethostname()) if host in _WILDCARDS else [host]
    names += [name.partition(":")[0] for name in hostnames]
    return tuple(dict.fromkeys(name.lower() for name in names if name))


def needs_renewal(begin: datetime, end: datetime, now: datetime) -> bool:
    """Say whether a certificate should be another by `now`; near its end, or from the future."""
    return not begin <= now <= end - RENEW_BEFORE


def _addresses(name: str) -> list[str]:
    with suppress(OSError):
        return [str(each[4][0]).partition("%")[0] for each in socket.getaddrinfo(name, None)]
    return []


def _fingerprint(pem: bytes) -> str:
    text = pem.decode("ascii", "replace")
    text = text[max(text.find(_BEGIN), 0) : text.find(_END) + len(_END)]
    digest = sha256(ssl.PEM_cert_to_DER_cert(text)).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def _is_outdated(path: Path, names: tuple[str, ...]) -> bool:
    if not path.exists():
        return True
    x509 = _x509()
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        covered = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return True
    known = {*covered.get_values_for_type(x509.DNSName)}
    known |= {str(address) for address in covered.get_values_for_type(x509.IPAddress)}
    end = found.not_valid_after_utc
    return not known >= {*names} or needs_renewal(found.not_valid_before_utc, end, _now())


def _make(key_file: Path, names: tuple[str, ...]) -> bytes:
    """Return a certificate for these names, signed by its own key, which is made if need be."""
    x509 = _x509()
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if not key_file.exists():
        fresh = ec.generate_private_key(ec.SECP256R1())
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        pem = fresh.private_bytes(serialization.Encoding.PEM, form, plain)
        privatefile.replace(key_file, pem, durable=True)
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{key_file} is not ours", hint="remove it, and a new one is made")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "palm registry")])
    now, public = _now(), key.public_key()
    usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(_alternative(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    made: bytes = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return made


def _alternative(names: tuple[str, ...]) -> SubjectAlternativeName:
    x509 = _x509()
    found = []
    for name in names:
        try:
            found.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name.encode("idna").decode("ascii")))
    made: SubjectAlternativeName = x509.SubjectAlternativeName(found)
    return made


def _x509() -> Any:
    try:
        from cryptography import x509  # few need it, and it is an extra
    except ImportError as error:
        raise ConfigError(
            "a certificate can be made only with the package cryptography",
            key="--tls",
            hint="pip install 'palm-cluster[tls]', or give --certfile and --keyfile",
        ) from error
    return x509


def _now() -> datetime:
    return datetime.now(UTC)

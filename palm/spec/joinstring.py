"""The text by which a machine becomes a node: where its registry is, and a secret. Pure."""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

from palm.errors import ConfigError
from palm.spec.names import check_name

__all__ = ["JoinString", "parse_join_string"]

#: What it begins with, for people and for programs that look for secrets in wrong places.
PREFIX = "palm-join-1."
_MAX = 4096
_FINGERPRINT = re.compile(r"([0-9A-Fa-f]{2}:?){32}|")


class JoinString(msgspec.Struct, kw_only=True, frozen=True):
    """What is in it. ``node``: the name that the node is to have, "" for any.

    ``fingerprint`` is the SHA-256 of the registry's certificate, "" where it speaks no TLS.
    """

    url: str
    cluster: str
    secret: str
    fingerprint: str = ""
    node: str = ""

    def __str__(self) -> str:
        text = base64.urlsafe_b64encode(msgspec.json.encode(self)).decode()
        return PREFIX + text.rstrip("=")

    def __repr__(self) -> str:
        return f"<JoinString {self.cluster} {self.url}>"  # a repr ends up in logs


def parse_join_string(text: str) -> JoinString:
    """Return what a join string says.

    Raises
    ------
    ConfigError
        It is none, or not whole. The text is not in the error: it may hold a secret.
    """
    hint = "ask for another one: palm nodes join-string"
    text = "".join(text.split())  # terminals and mails break lines
    if not text.startswith(PREFIX) or len(text) > _MAX:
        raise ConfigError(f"this is no join string; one begins with {PREFIX}", hint=hint)
    body = text.removeprefix(PREFIX)
    try:
        data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(data, type=JoinString)
        check_name(found.cluster)
        if found.node:
            check_name(found.node)
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError("the join string is not whole", hint=hint) from error
    secure = found.url.startswith("https://")
    if not _FINGERPRINT.fullmatch(found.fingerprint) or bool(found.fingerprint) != secure:
        raise ConfigError("the join string does not say how to know the registry", hint=hint)
    return found

"""``palm token``."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from pathlib import Path

import msgspec

from palm.cli.attach import registry
from palm.cli.failures import FAILED, NO_SUCH_NAME, OK, CommandFailed
from palm.cli.tables import duration, show_table
from palm.files import privatefile
from palm.registry_api import Refused, RegistryClient
from palm.registry_api.schema import TokenInfo, TokenMade
from palm.spec.duration import parse_duration

__all__ = ["run"]

_HEAD = ("NAME", "SCOPE", "USER", "CLUSTER", "MADE", "USED", "EXPIRES")


def run(arguments: Namespace) -> int:
    """Make, list or revoke tokens."""
    with registry() as client:
        try:
            if arguments.action == "add":
                return _add(client, arguments)
            if arguments.action == "list":
                return _list(client.tokens(), as_json=arguments.json)
            client.revoke_token(arguments.name)
        except Refused as error:
            raise CommandFailed(
                str(error), NO_SUCH_NAME if error.status == 404 else FAILED
            ) from error
    told = {"name": arguments.name, "state": "revoked"}
    print(json.dumps(told) if arguments.json else f"{arguments.name}: revoked")
    return OK


def _add(client: RegistryClient, arguments: Namespace) -> int:
    ttl = parse_duration(arguments.expires) if arguments.expires else None
    made = client.add_token(
        arguments.name,
        arguments.scope,
        user=arguments.user,
        cluster=arguments.cluster or "",
        ttl=ttl,
    )
    found = msgspec.to_builtins(made)
    if arguments.out:
        _write(client, made, Path(arguments.out))
        found["token_file"] = arguments.out
        del found["token"]
    shown = made.token if not arguments.out else f"{made.name}: {arguments.out}"
    print(json.dumps(found) if arguments.json else shown)
    return OK


def _write(client: RegistryClient, made: TokenMade, path: Path) -> None:
    """Write a token into a new file; one that nobody has is revoked."""
    try:
        if privatefile.create(path, f"{made.token}\n".encode()):
            return
        reason = "there is a file already"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    client.revoke_token(made.name)
    raise CommandFailed(f"{path} cannot be written: {reason}", FAILED)


def _list(tokens: list[TokenInfo], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"tokens": msgspec.to_builtins(tokens)}))
    else:
        now = time.time()
        show_table(_HEAD, [_row(token, now) for token in tokens])
    return OK


def _row(token: TokenInfo, now: float) -> tuple[str, ...]:
    return (
        token.name,
        token.scope,
        token.user,
        token.cluster or "all",
        _ago(token.created, now),
        "never" if token.used is None else _ago(token.used, now),
        _left(token.expires, now),
    )


def _ago(then: float, now: float) -> str:
    return f"{duration(max(0.0, now - then))} ago"


def _left(expires: float | None, now: float) -> str:
    if expires is None:
        return "never"
    return f"in {duration(expires - now)}" if expires > now else "it is over"

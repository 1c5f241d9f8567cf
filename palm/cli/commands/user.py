"""``palm user``."""

from __future__ import annotations

import json
from argparse import Namespace

import msgspec

from palm.cli.attach import registry
from palm.cli.failures import FAILED, NO_SUCH_NAME, OK, CommandFailed
from palm.cli.tables import show_table
from palm.registry_api import Refused, RegistryClient
from palm.registry_api.schema import UserInfo

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Make, list or remove users of a registry that several share."""
    with registry() as client:
        try:
            return _act(client, arguments)
        except Refused as error:
            raise CommandFailed(
                str(error), NO_SUCH_NAME if error.status == 404 else FAILED
            ) from error


def _act(client: RegistryClient, arguments: Namespace) -> int:
    if arguments.action == "list":
        return _list(client.users(), as_json=arguments.json)
    if arguments.action == "add":
        found = msgspec.to_builtins(client.add_user(arguments.name))
        hint = f"palm token add {arguments.name}-laptop --user {arguments.name} --scope operator"
        told = f"{arguments.name}: made; for a token: {hint}"
    else:
        client.remove_user(arguments.name)
        found = {"name": arguments.name, "state": "removed"}
        told = f"{arguments.name}: removed"
    print(json.dumps(found) if arguments.json else told)
    return OK


def _list(users: list[UserInfo], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"users": msgspec.to_builtins(users)}))
    else:
        rows = [(user.name, ", ".join(user.clusters), ", ".join(user.tokens)) for user in users]
        show_table(("NAME", "CLUSTERS", "TOKENS"), rows)
    return OK

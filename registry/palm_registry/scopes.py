"""What a token may do. No I/O.

A handler says for each method which scope it takes, in its table ``scopes``; what a table does not
name is for admins, so that nothing is open because somebody forgot it.

========  =====================================================================================
viewer    reads: clusters, status, output, events, files
operator  what a viewer may, and changes clusters; its user's runners may join with it, too
runner    what runners call, for the one cluster that the token is for, and nothing else
admin     everything, in the clusters of all users, with tokens, users and the audit list
========  =====================================================================================
"""

from __future__ import annotations

from typing import Literal

from palm.registry_api.schema import Scope

__all__ = ["ANY", "OWNER", "Needed", "allows"]

#: The user whose registry this is, and the name of this user's own token.
OWNER = "owner"
#: Taken by what is for everybody who is known, whatever the scope.
ANY: Literal["any"] = "any"

Needed = Scope | Literal["any"]

_MAY: dict[Scope, frozenset[Needed]] = {
    "viewer": frozenset({"any", "viewer"}),
    "operator": frozenset({"any", "viewer", "operator", "runner"}),
    "runner": frozenset({"any", "runner"}),
    "admin": frozenset({"any", "viewer", "operator", "runner", "admin"}),
}


def allows(scope: Scope, needed: Needed) -> bool:
    """Say whether who has a scope may do what takes another."""
    return needed in _MAY[scope]

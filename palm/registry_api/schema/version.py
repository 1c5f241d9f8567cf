"""The versions of what is said here, and which of them go together."""

from __future__ import annotations

__all__ = ["API", "API_HEADER", "API_OLDEST", "version_problem"]

#: Version of what is said here; it goes up with each release that changes what a request means.
API = 2
#: The oldest version of a client or a runner that is understood: the one before.
API_OLDEST = API - 1
#: Says in a request, and in every answer, which version whoever has sent it speaks.
API_HEADER = "Palm-Api"


def version_problem(client: int, registry: int) -> tuple[str, str] | None:
    """Say why two versions of the API do not go together, and what to do; None if they do.

    A registry serves clients and runners of its own version and of the one before.
    """
    speak = f"the client speaks version {client} of the API, the registry version {registry}"
    if client > registry:
        way = "start the registry anew with the newer palm: palm registry restart"
        return f"the registry is older than its client: {speak}", way
    if client < registry - 1:
        way = "install the palm of the registry where the client, or the runner, is"
        return f"the client is older than the registry: {speak}", way
    return None

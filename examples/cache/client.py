"""Shares values with the workers, has them used, and checks what comes back."""

from typing import Any

from palm.clients import Client
from palm.clients.cache import MISSING


def check(what: str, found: Any, expected: Any) -> None:
    """Say what was found; end the program if it is not what it should be."""
    if found != expected:
        raise SystemExit(f"{what}: {found!r}, not {expected!r}")
    print(f"{what}: {found!r}")


def main() -> None:
    """Set, get, use and delete."""
    with Client("library", session="example") as client, Client("library") as other:
        # A session keeps its keys to itself; workers have none, and see them as "example/KEY".
        client.cache["private"] = 1
        check("keys of the session", client.cache.list(), ["private"])
        check("the same key for others", "private" in other.cache, False)
        client.cache.clear()

    with Client("library") as client:
        check("the key", client.set(b"Good morning", "cached"), "cached")
        check("the value", client.get("cached"), b"Good morning")
        names = [b"Ada", b"Grace", b"Barbara"]
        greetings = list(client.job("library.greet", names, ordered=True))
        check("greetings", greetings, [b"Good morning, " + name for name in names])

        words = ["palm", "date", "palm", "coconut", "palm"]
        list(client.job("library.count", words))
        check("times palm", client.cache["palm"], 3)

        check("a lock", client.cache.cas("lock", MISSING, "mine", ttl=30.0), True)
        check("the same lock again", client.cache.cas("lock", MISSING, "yours", ttl=30.0), False)
        check("deleted", client.cache.clear(), 5)
        check("gone", client.cache.get("cached", MISSING), MISSING)


if __name__ == "__main__":
    main()

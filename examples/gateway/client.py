"""Calls functions through a gateway, with nothing but the standard library.

It takes what ``palm gateway --json`` printed: a file with the gateway's URL and where its token is.
"""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen


class Gateway:
    """Calls functions by their names."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"}

    def call(self, function: str, value: Any) -> Any:
        """Send a value, and return the result."""
        return json.loads(self.post(function, json.dumps(value).encode(), "application/json"))

    def post(self, function: str, body: bytes, kind: str) -> bytes:
        """Send bytes, and return bytes."""
        headers = {**self.headers, "Content-Type": kind}
        request = Request(self.url + function, body, headers)  # noqa: S310 - as palm printed it
        with urlopen(request, timeout=30) as response:  # noqa: S310
            return response.read()


def check(what: str, found: Any, expected: Any) -> None:
    """Print what was found; end with an error if it is not what was expected."""
    print(f"{what}: {found}")
    if found != expected:
        sys.exit(f"{what}: it should be {expected}")


def failure_of(gateway: Gateway, function: str) -> tuple[int, str]:
    """Return the status and the type of the error that a call ends with."""
    try:
        gateway.call(function, "the cat")
    except HTTPError as error:
        return error.code, json.load(error)["error"]["type"]
    return 200, "no error"


def main() -> None:
    """Call, print, and make sure that what comes back is right."""
    started = json.loads(Path(sys.argv[1]).read_text().splitlines()[0])
    gateway = Gateway(started["url"], Path(started["token_file"]).read_text().strip())
    counts = gateway.call("count", "the cat and the hat")
    check("count", counts, {"the": 2, "cat": 1, "and": 1, "hat": 1})
    shouted = gateway.post("words.shout", b"the cat", "application/octet-stream")
    check("shout", shouted, b"THE CAT")
    check("cuont", failure_of(gateway, "cuont"), (404, "FunctionNotFound"))


if __name__ == "__main__":
    main()

"""Asks both components, and checks what comes back."""

import os
import time
import urllib.error
import urllib.request

from palm.clients import Client

PORT = int(os.environ.get("EXAMPLE_PORT", "8899"))


def post(body: bytes) -> tuple[int, bytes]:
    """Return status and body of an answer; the gateway may still be on its way up."""
    until = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}", body, timeout=15) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except urllib.error.URLError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


with Client("template") as client:
    found = sorted(client.job("template.reverse", [b"abc", b"", b"xyz"]))
    print(found)
    if found != [b"CBA DEKCEHC", b"ZYX DEKCEHC", b"cba dekcehc", b"zyx dekcehc"]:
        raise SystemExit("template: these are not the results")

for body, expected in ((b"palm", (200, b"hello, palm")), (b"", (500, b"ValueError: whom?"))):
    status, answer = post(body)
    print(status, answer)
    if status != expected[0] or not answer.startswith(expected[1]):
        raise SystemExit(f"gateway: {status} {answer!r} is not {expected!r}")

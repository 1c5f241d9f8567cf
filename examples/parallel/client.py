"""Sends ten messages, as launcher.py does, and checks what comes back."""

import os
from collections import Counter

from palm.clients import Client

DB = f"tcp://127.0.0.1:{int(os.environ.get('EXAMPLE_PORT', '5555')) + 4}"

if __name__ == "__main__":
    with Client("foo", DB) as client:
        client.wait_for_workers(2, timeout=60.0)
        results = list(client.job("foo.foo", [b" a message"] * 10))
    print(*results, sep="\n")
    if len(results) != 10 or not all(each.endswith(b" processed a message") for each in results):
        raise SystemExit(f"{len(results)} results, and not those that were expected")
    workers = Counter(each.split(b" ")[0] for each in results)
    print(*(f"{name.decode()}: {count}" for name, count in workers.items()), sep="\n")

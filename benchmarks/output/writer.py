"""A process that sends output to a registry as a runner does: as fast as it is taken."""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from benchmarks.output.lines import LINE, LINES, batch

#: Connections, and batches of each request.
CONNECTIONS, BATCHES = 2, 8


def main() -> None:
    """Send; argv: address, token file, cluster, lines, name of the writers, lines a second."""
    url, token_file, cluster, lines, name, rate = sys.argv[1:]
    token = Path(token_file).read_text().strip()
    requests = int(lines) // (LINES * BATCHES * CONNECTIONS)
    pause = BATCHES * LINES * CONNECTIONS / float(rate) if float(rate) else 0.0
    barrier = threading.Barrier(CONNECTIONS + 1)
    threads = [
        threading.Thread(
            target=_send,
            args=(url, token, f"api/clusters/{cluster}/output", f"{name}-{n}", requests, pause,
                  barrier),
        )
        for n in range(CONNECTIONS)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    sent = requests * BATCHES * LINES * CONNECTIONS
    print(json.dumps({"lines": sent, "seconds": time.perf_counter() - began}), flush=True)


def _send(
    url: str,
    token: str,
    path: str,
    name: str,
    requests: int,
    pause: float,
    barrier: threading.Barrier,
) -> None:
    site = urlsplit(url)
    connection = http.client.HTTPConnection(site.hostname or "", site.port)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/msgpack",
        "Accept": "application/msgpack",
    }
    # The numbers of the lines come again in each request: to make others would cost more than
    # what is measured.
    pieces = [batch(n, n * LINES) for n in range(BATCHES)]
    size = LINES * LINE
    barrier.wait()
    due = time.perf_counter()
    for at in range(requests):
        body = [
            {
                "instance": f"{name}.{n}", "stream": "stdout", "offset": at * size, "bytes": data,
                "component": name, "name": name, "time": time.time(),
            }
            for n, data in enumerate(pieces)
        ]  # fmt: skip
        connection.request("POST", f"/{path}", msgspec.msgpack.encode(body), headers)
        answer = connection.getresponse()
        told = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {told!r}")
        due += pause
        if (left := due - time.perf_counter()) > 0:
            time.sleep(left)


if __name__ == "__main__":
    main()

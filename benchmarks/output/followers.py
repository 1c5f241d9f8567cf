"""A process with followers of a cluster's output; none may miss a byte, however slow it is."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from benchmarks.output.lines import Ledger

#: Bytes a second that a slow follower reads.
SLOW = 4_000_000


class _Record(msgspec.Struct):
    instance: str
    stream: str
    offset: int
    text: str


class _Frame(msgspec.Struct):
    topic: str
    data: msgspec.Raw


_FRAMES = msgspec.json.Decoder(_Frame)
_RECORDS = msgspec.json.Decoder(list[_Record])


@dataclass
class Follower:
    """One connection."""

    connection: WebSocketClientConnection
    slow: bool
    ledger: Ledger = field(default_factory=Ledger)
    done: float = 0.0

    async def read(self, wanted: int) -> None:
        """Read on until all is there; a gap, a double or a skip is an error."""
        while self.ledger.bytes < wanted:
            message = await self.connection.read_message()
            if message is None:
                raise RuntimeError("the registry closed the connection")
            frame = _FRAMES.decode(message)
            if frame.topic != "output":
                raise RuntimeError(f"a frame {frame.topic}")
            for record in _RECORDS.decode(frame.data):
                if record.instance.startswith("tick"):
                    continue
                self.ledger.take(record.instance, record.stream, record.offset, len(record.text))
            if self.slow:
                await asyncio.sleep(len(message) / SLOW)
        self.done = time.perf_counter()


async def follow(url: str, token: str, cluster: str, fast: int, slow: int, wanted: int) -> None:
    """Follow until all have read so many bytes; say when they are ready, and when they are done."""
    path = f"{url.replace('http', 'ws', 1)}api/clusters/{cluster}/live?topics=output&gapless=1"
    request = {"headers": {"Authorization": f"Bearer {token}"}}
    followers = [
        Follower(
            await websocket_connect(
                HTTPRequest(path, **request), max_message_size=64 * 1024 * 1024
            ),
            slow=n >= fast,
        )
        for n in range(fast + slow)
    ]
    print("ready", flush=True)
    began = time.perf_counter()
    await asyncio.gather(*(follower.read(wanted) for follower in followers))
    done = [follower.done - began for follower in followers]
    print(json.dumps({"fast": done[:fast], "slow": done[fast:]}), flush=True)


def main() -> None:
    """Follow; argv: address, token file, cluster, fast ones, slow ones, bytes."""
    url, token_file, cluster, fast, slow, wanted = sys.argv[1:]
    token = Path(token_file).read_text().strip()
    asyncio.run(follow(url, token, cluster, int(fast), int(slow), int(wanted)))


if __name__ == "__main__":
    main()

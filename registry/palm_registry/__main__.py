"""``python -m palm_registry``: run a registry until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from palm.errors import ConfigError
from palm_registry.app import Registry
from palm_registry.settings import Settings, parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a registry; 0 when it was stopped, 1 when it could not start."""
    os.umask(0o077)  # the database makes files of its own
    logging.basicConfig(
        stream=sys.stderr,
        format="%(asctime)s - registry - %(levelname)s - %(message)s",
        level=os.environ.get("PALM_LOG_LEVEL", "INFO"),
    )
    try:
        settings = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
        asyncio.run(_run(settings))
    except ConfigError as error:
        sys.stderr.write(f"palm registry: {error}\n")
        return 1
    return 0


async def _run(settings: Settings) -> None:
    registry = Registry(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, registry.idle.set)
    await registry.start()
    try:
        await registry.idle.wait()
    finally:
        await registry.stop()


if __name__ == "__main__":
    sys.exit(main())

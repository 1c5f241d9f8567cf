"""The registry itself: what it is, a copy of its database, and its new start."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from palm.registry_api.schema import RegistryInfo
from palm_registry.description import describes
from palm_registry.handlers.base import Base, Context

__all__ = ["Backup", "Info", "Restart"]

_CHUNK = 1 << 20


class Info(Base):
    """What the registry is."""

    scopes = {"GET": "viewer"}

    @describes(reply=RegistryInfo, summary="Say what the registry is, and how it was told to run.")
    async def get(self) -> None:
        """Describe it."""
        self.answer(self.context.control.info())


class Restart(Base):
    """Its new start."""

    scopes = {"POST": "admin"}

    @describes(status=202, errors=(409,), summary="Let the registry start anew, in its place.")
    async def post(self) -> None:
        """Begin it, if the new one could start."""
        await self.context.control.restart()
        self.set_status(202)
        self.finish()


class Backup(Base):
    """A copy of its database."""

    scopes = {"POST": "admin"}

    def initialize(self, context: Context) -> None:
        """Prepare to be left alone meanwhile."""
        super().initialize(context)
        self._gone = threading.Event()

    @describes(
        media="application/vnd.sqlite3",
        errors=(409,),
        summary="Make a copy of the database, and send it.",
    )
    async def post(self) -> None:
        """Make one, and send it."""
        control = self.context.control
        path = await asyncio.to_thread(control.copy_database, lambda: not self._gone.is_set())
        try:
            await self._send(path)
        finally:
            await asyncio.to_thread(path.unlink)

    async def _send(self, path: Path) -> None:
        self.set_header("Content-Type", "application/vnd.sqlite3")
        with await asyncio.to_thread(path.open, "rb") as file:
            self.set_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            while not self._gone.is_set() and (chunk := await asyncio.to_thread(file.read, _CHUNK)):
                self.write(chunk)
                await self.flush()
        self.finish()

    def on_connection_close(self) -> None:
        """Note that nobody waits any more."""
        super().on_connection_close()
        self._gone.set()

"""Room on the disk: what SQLite has freed goes back to the file system, a little at a time.

PostgreSQL does the like by itself.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

__all__ = ["free_pages", "shrink", "used"]


def used(connection: Connection) -> int | None:
    """Return how many bytes of the database hold something, None if it does not tell."""
    if connection.dialect.name != "sqlite":
        return None
    pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar() or 0)
    size = int(connection.exec_driver_sql("PRAGMA page_size").scalar() or 0)
    return (pages - free_pages(connection)) * size


def free_pages(connection: Connection) -> int:
    """Return how many pages of the file hold nothing."""
    if connection.dialect.name != "sqlite":
        return 0
    return int(connection.exec_driver_sql("PRAGMA freelist_count").scalar() or 0)


def shrink(connection: Connection, pages: int) -> None:
    """Give up to so many pages back; the caller commits."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.dbapi_connection
        # SQLite gives back a page at each step of the statement, and the driver takes one step of
        # a statement without columns.
        for _ in range(min(pages, free_pages(connection))):
            driver.execute("PRAGMA incremental_vacuum(1)")

"""Versions of cluster files say who put them in force, why, and what they are."""

from __future__ import annotations

STATEMENTS = (
    """
    ALTER TABLE configs ADD COLUMN "by" VARCHAR NOT NULL DEFAULT ''
    """,
    """
    ALTER TABLE configs ADD COLUMN note VARCHAR NOT NULL DEFAULT ''
    """,
    """
    ALTER TABLE configs ADD COLUMN size INTEGER NOT NULL DEFAULT 0
    """,
    """
    ALTER TABLE configs ADD COLUMN sha256 VARCHAR NOT NULL DEFAULT ''
    """,
)

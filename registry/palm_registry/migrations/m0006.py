"""Output that is lost has rows too: how much of its stream is not there, and why."""

from __future__ import annotations

STATEMENTS = (
    "ALTER TABLE output ADD COLUMN lost INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE output ADD COLUMN reason VARCHAR NOT NULL DEFAULT ''",
    "CREATE INDEX ix_output_lost ON output (instance, lost) WHERE lost > 0",
)

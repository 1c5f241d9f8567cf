"""Scopes of tokens, users who own clusters, and the audit list.

What is there belongs to the user whose registry it was.
"""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE users (
        name VARCHAR NOT NULL,
        created FLOAT NOT NULL,
        creator VARCHAR NOT NULL,
        PRIMARY KEY (name)
    )
    """,
    "ALTER TABLE tokens RENAME COLUMN role TO scope",
    "UPDATE tokens SET scope = 'admin'",
    "ALTER TABLE tokens ADD COLUMN owner VARCHAR DEFAULT 'owner' NOT NULL",
    "ALTER TABLE tokens ADD COLUMN cluster VARCHAR DEFAULT '' NOT NULL",
    "ALTER TABLE tokens ADD COLUMN expires FLOAT",
    "ALTER TABLE tokens ADD COLUMN used FLOAT",
    "ALTER TABLE tokens ADD COLUMN creator VARCHAR DEFAULT '' NOT NULL",
    "CREATE UNIQUE INDEX ix_tokens_name ON tokens (name)",
    "ALTER TABLE clusters ADD COLUMN owner VARCHAR DEFAULT 'owner' NOT NULL",
    """
    CREATE TABLE audit (
        seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        time FLOAT NOT NULL,
        token VARCHAR NOT NULL,
        owner VARCHAR NOT NULL,
        address VARCHAR NOT NULL,
        what VARCHAR NOT NULL,
        cluster VARCHAR NOT NULL,
        status INTEGER NOT NULL,
        code VARCHAR NOT NULL,
        details JSON NOT NULL
    )
    """,
    "CREATE INDEX ix_audit_time ON audit (time)",
)

"""Output apart from what describes it, found by component and by when it was stored.

What describes a piece is small and read often; the bytes of it are large and read once. A stream
knows how much of its beginning has been dropped.
"""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE output_data (
        id INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY(id) REFERENCES output (id) ON DELETE CASCADE
    )
    """,
    "INSERT INTO output_data (id, data) SELECT id, data FROM output ORDER BY id",
    "ALTER TABLE output DROP COLUMN data",
    "ALTER TABLE output ADD COLUMN component VARCHAR NOT NULL DEFAULT ''",
    "ALTER TABLE output ADD COLUMN stored FLOAT NOT NULL DEFAULT 0",
    """
    UPDATE output SET component = i.component, stored = s.stored
    FROM instances AS i, (SELECT id, MAX(time) OVER (ORDER BY id) AS stored FROM output) AS s
    WHERE i.id = output.instance AND s.id = output.id
    """,
    "CREATE INDEX ix_output_component ON output (cluster, component, id)",
    "ALTER TABLE streams ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0",
    """
    CREATE TABLE drops (
        cluster VARCHAR NOT NULL,
        component VARCHAR NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (cluster, component),
        FOREIGN KEY(cluster) REFERENCES clusters ("key") ON DELETE CASCADE
    )
    """,
)

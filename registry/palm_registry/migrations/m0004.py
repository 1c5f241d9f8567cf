"""Nodes that do not come back in time, and what may still run there."""

STATEMENTS = (
    "ALTER TABLE nodes ADD COLUMN overdue BOOLEAN DEFAULT FALSE NOT NULL",
    """
    CREATE TABLE strays (
        cluster VARCHAR NOT NULL,
        node VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        component VARCHAR NOT NULL,
        PRIMARY KEY (cluster, node, name),
        FOREIGN KEY (cluster) REFERENCES clusters (key) ON DELETE CASCADE
    )
    """,
)

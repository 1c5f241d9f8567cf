"""Signals for processes, on their way to the runners that send them."""

STATEMENTS = (
    """
    CREATE TABLE signals (
        cluster VARCHAR NOT NULL,
        id VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        component VARCHAR NOT NULL,
        node VARCHAR NOT NULL,
        instance VARCHAR NOT NULL,
        signal VARCHAR NOT NULL,
        created FLOAT NOT NULL,
        done BOOLEAN NOT NULL,
        PRIMARY KEY (cluster, id, name),
        FOREIGN KEY (cluster) REFERENCES clusters (key) ON DELETE CASCADE
    )
    """,
)

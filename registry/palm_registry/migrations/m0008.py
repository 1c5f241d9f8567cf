"""Code of components, invitations of nodes, and tokens that are for one node."""

STATEMENTS = (
    """
    CREATE TABLE code (
        cluster VARCHAR NOT NULL,
        sha256 VARCHAR NOT NULL,
        size INTEGER NOT NULL,
        stored FLOAT NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (cluster, sha256),
        FOREIGN KEY (cluster) REFERENCES clusters (key) ON DELETE CASCADE
    )
    """,
    "ALTER TABLE configs ADD COLUMN code JSON NOT NULL DEFAULT '{}'",
    """
    CREATE TABLE invitations (
        hash VARCHAR NOT NULL,
        cluster VARCHAR NOT NULL,
        owner VARCHAR NOT NULL,
        node VARCHAR NOT NULL,
        created FLOAT NOT NULL,
        expires FLOAT NOT NULL,
        used FLOAT,
        creator VARCHAR NOT NULL,
        PRIMARY KEY (hash),
        FOREIGN KEY (cluster) REFERENCES clusters (key) ON DELETE CASCADE
    )
    """,
    "ALTER TABLE tokens ADD COLUMN node VARCHAR NOT NULL DEFAULT ''",
)

"""The first schema."""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE clusters (
        "key" VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        created FLOAT NOT NULL,
        updated FLOAT NOT NULL,
        config_version INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        state VARCHAR NOT NULL,
        linger FLOAT,
        held BOOLEAN NOT NULL,
        purge BOOLEAN NOT NULL,
        PRIMARY KEY ("key")
    )
    """,
    """
    CREATE TABLE meta (
        version INTEGER NOT NULL,
        identity VARCHAR NOT NULL,
        PRIMARY KEY (version)
    )
    """,
    """
    CREATE TABLE tokens (
        hash VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        role VARCHAR NOT NULL,
        created FLOAT NOT NULL,
        PRIMARY KEY (hash)
    )
    """,
    """
    CREATE TABLE components (
        cluster VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        spec JSON NOT NULL,
        running BOOLEAN NOT NULL,
        released BOOLEAN NOT NULL,
        stop_grace FLOAT,
        PRIMARY KEY (cluster, name),
        FOREIGN KEY(cluster) REFERENCES clusters ("key") ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE configs (
        cluster VARCHAR NOT NULL,
        version INTEGER NOT NULL,
        text TEXT NOT NULL,
        file VARCHAR NOT NULL,
        folder VARCHAR NOT NULL,
        created FLOAT NOT NULL,
        PRIMARY KEY (cluster, version),
        FOREIGN KEY(cluster) REFERENCES clusters ("key") ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE events (
        seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        cluster VARCHAR NOT NULL,
        time FLOAT NOT NULL,
        kind VARCHAR NOT NULL,
        text TEXT NOT NULL,
        component VARCHAR NOT NULL,
        replica INTEGER,
        node VARCHAR NOT NULL,
        data JSON NOT NULL,
        FOREIGN KEY(cluster) REFERENCES clusters ("key") ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX ix_events_cluster ON events (cluster, seq)
    """,
    """
    CREATE TABLE instances (
        id INTEGER NOT NULL,
        cluster VARCHAR NOT NULL,
        instance VARCHAR NOT NULL,
        component VARCHAR NOT NULL,
        replica INTEGER NOT NULL,
        name VARCHAR NOT NULL,
        created FLOAT NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY(cluster) REFERENCES clusters ("key") ON DELETE CASCADE,
        CONSTRAINT uq_instances UNIQUE (cluster, instance)
    )
    """,
    """
    CREATE TABLE leases (
        cluster VARCHAR NOT NULL,
        holder VARCHAR NOT NULL,
        ttl FLOAT NOT NULL,
        PRIMARY KEY (cluster, holder),
        FOREIGN KEY(cluster) REFERENCES clusters ("key") ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE nodes (
        cluster VARCHAR NOT NULL,
        id VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        address VARCHAR NOT NULL,
        cores INTEGER NOT NULL,
        labels JSON NOT NULL,
        session VARCHAR NOT NULL,
        alive BOOLEAN NOT NULL,
        removed BOOLEAN NOT NULL,
        seen FLOAT NOT NULL,
        PRIMARY KEY (cluster, id),
        FOREIGN KEY(cluster) REFERENCES clusters ("key") ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE placements (
        cluster VARCHAR NOT NULL,
        component VARCHAR NOT NULL,
        replica INTEGER NOT NULL,
        node VARCHAR NOT NULL,
        PRIMARY KEY (cluster, component, replica),
        FOREIGN KEY(cluster) REFERENCES clusters ("key") ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE replicas (
        cluster VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        node VARCHAR NOT NULL,
        status JSON NOT NULL,
        PRIMARY KEY (cluster, name),
        FOREIGN KEY(cluster) REFERENCES clusters ("key") ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE sessions (
        hash VARCHAR NOT NULL,
        token VARCHAR NOT NULL,
        expires FLOAT NOT NULL,
        PRIMARY KEY (hash),
        FOREIGN KEY(token) REFERENCES tokens (hash) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE output (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        cluster VARCHAR NOT NULL,
        instance INTEGER NOT NULL,
        stream VARCHAR NOT NULL,
        "offset" INTEGER NOT NULL,
        size INTEGER NOT NULL,
        time FLOAT NOT NULL,
        data BLOB NOT NULL,
        FOREIGN KEY(cluster) REFERENCES clusters ("key") ON DELETE CASCADE,
        FOREIGN KEY(instance) REFERENCES instances (id) ON DELETE CASCADE,
        CONSTRAINT uq_output UNIQUE (instance, stream, "offset")
    )
    """,
    """
    CREATE INDEX ix_output_cluster ON output (cluster, id)
    """,
    """
    CREATE TABLE streams (
        instance INTEGER NOT NULL,
        stream VARCHAR NOT NULL,
        durable INTEGER NOT NULL,
        PRIMARY KEY (instance, stream),
        FOREIGN KEY(instance) REFERENCES instances (id) ON DELETE CASCADE
    )
    """,
)

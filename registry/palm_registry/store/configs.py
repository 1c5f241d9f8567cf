"""Versions of cluster files."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from sqlalchemy import Connection, case, insert, literal, select

from palm.registry_api.schema import Code, ConfigFile, ConfigVersion
from palm_registry.models import configs
from palm_registry.store.clusters import update_cluster
from palm_registry.store.database import fetch_all, fetch_one

__all__ = ["add_config", "all_configs", "get_config", "with_digest"]

#: Columns of a version, without its text.
_COLUMNS = [
    configs.c.version, configs.c.file, configs.c.folder, configs.c.created, configs.c.by,
    configs.c.note, configs.c.size, configs.c.sha256,
]  # fmt: skip


def with_digest(config: ConfigFile) -> ConfigFile:
    """Fill in size and digest, which follow from the text."""
    data = config.text.encode()
    config.size, config.sha256 = len(data), hashlib.sha256(data).hexdigest()
    return config


def add_config(connection: Connection, key: str, config: ConfigFile) -> None:
    """Store a version of the cluster file, which is the one in force from now on."""
    columns = [column.name for column in _COLUMNS]
    values: dict[str, Any] = {name: getattr(config, name) for name in (*columns, "text")}
    values["code"] = msgspec.to_builtins(config.code)
    connection.execute(insert(configs).values(cluster=key, **values))
    update_cluster(connection, key, config_version=config.version, updated=config.created)


def get_config(connection: Connection, key: str, version: int) -> ConfigFile | None:
    """Return a version of the cluster file."""
    query = select(*_COLUMNS, configs.c.text, configs.c.code)
    query = query.where(configs.c.cluster == key, configs.c.version == version)
    row = fetch_one(connection, query)
    if row is None:
        return None
    code = msgspec.convert(row["code"], dict[str, Code])
    return with_digest(ConfigFile(**{**row, "code": code}))


def all_configs(
    connection: Connection, key: str, before: int | None, limit: int
) -> list[ConfigVersion]:
    """Return at most `limit` versions below `before`, the latest first, without their texts."""
    # The text of those alone that were stored without a digest.
    text = case((configs.c.sha256 == "", configs.c.text), else_=literal("")).label("text")
    query = select(*_COLUMNS, text).where(configs.c.cluster == key)
    if before is not None:
        query = query.where(configs.c.version < before)
    query = query.order_by(configs.c.version.desc()).limit(limit)
    return [_version(row) for row in fetch_all(connection, query)]


def _version(row: dict[str, Any]) -> ConfigVersion:
    if not row["sha256"]:
        found = with_digest(ConfigFile(**row))
        row |= {"size": found.size, "sha256": found.sha256}
    del row["text"]
    return ConfigVersion(**row)

"""Queries. Each takes a connection within a transaction and returns plain values; no rules here."""

from palm_registry.store.database import Database, StoreError, Unstorable

__all__ = ["Database", "StoreError", "Unstorable"]

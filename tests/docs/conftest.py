"""Folders and clusters of their own."""

from tests.support.fixtures import cluster

__all__ = ["cluster"]

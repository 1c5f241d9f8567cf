"""Clusters in threads and in processes."""

from tests.support.fixtures import cluster, foo, processes

__all__ = ["cluster", "foo", "processes"]

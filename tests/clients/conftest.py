"""Clusters in threads and in processes."""

from tests.support.fixtures import cluster, foo, processes
from tests.support.smalldisk import small_disk

__all__ = ["cluster", "foo", "processes", "small_disk"]

"""The registry that the tests share; a test has its cluster to itself."""

from tests.support.fixtures import cluster_name, shared_registry

__all__ = ["cluster_name", "shared_registry"]

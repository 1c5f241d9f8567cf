"""The components of a cluster."""

from palm.servers.master import Master
from palm.servers.worker import Worker

__all__ = ["Master", "Worker"]

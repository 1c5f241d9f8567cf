"""Talking to a cluster: the client and its jobs."""

from palm.clients.client import Client
from palm.clients.job import Job, Progress

__all__ = ["Client", "Job", "Progress"]

"""palm_registry: the service that keeps what a cluster is to be, what it is, and what it says."""

from palm._version import __version__

__all__ = ["__version__"]

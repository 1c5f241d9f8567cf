"""The values that a master keeps, as a mapping: `Client.cache`, and `Worker.cache` alike."""

from palm.runtime.cache import MISSING, Cache

__all__ = ["MISSING", "Cache"]

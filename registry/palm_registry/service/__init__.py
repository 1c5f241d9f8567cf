"""The rules of the registry. Nothing here knows HTTP or SQL."""

from palm_registry.service.service import Service

__all__ = ["Service"]

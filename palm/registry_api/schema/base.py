"""What the values have in common: their base, and the numbers in them."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["Count", "Large", "Measure", "Value"]

#: A whole number that any database can keep.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
#: One that counts messages or bytes, and something that is measured: finite, so JSON can say it.
Large = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Measure = Annotated[float, msgspec.Meta(ge=0, le=1e18)]


class Value(msgspec.Struct, kw_only=True):
    """Base: fields by name."""

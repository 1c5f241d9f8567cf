"""What panels show, as plain values: no widgets, no threads, no clock."""

from __future__ import annotations

from palm_jupyter.viewmodels.cluster import (
    ClusterView,
    Components,
    Frames,
    Frozen,
    Lines,
    Output,
    Unchanged,
    Update,
)

__all__ = [
    "ClusterView",
    "Components",
    "Frames",
    "Frozen",
    "Lines",
    "Output",
    "Unchanged",
    "Update",
]

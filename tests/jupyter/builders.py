"""Components as a view model has them."""

from __future__ import annotations

from typing import Any

ATTENTION = ["failed", "backing-off", "starting", "stopping", "stopped", "ready"]


def component(name: str, *states: str, **more: Any) -> dict[str, Any]:
    processes = [
        {"name": f"{name}-{i}", "state": s, "pid": i, "restarts": 0, "started": 1.0, "reason": ""}
        for i, s in enumerate(states)
    ]
    return {
        "name": name,
        "role": "worker",
        "state": min(states, key=ATTENTION.index),
        "desired": len(states),
        "ready": states.count("ready"),
        "own": True,
        "master": "foo",
        "functions": ["measure"],
        "processes": processes,
        **more,
    }

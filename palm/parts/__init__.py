"""Components of one's own, put together from ports, steps and inlets.

The components of `palm.servers` are made of the same parts; these are for what none of them does.
"""

from palm.parts.assembly import WORKERS, Assembly, Inlet, Step

__all__ = ["WORKERS", "Assembly", "Inlet", "Step"]

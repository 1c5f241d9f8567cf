"""The rules of the cluster, as state machines without I/O."""

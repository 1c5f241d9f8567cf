"""Configuration values: names, addresses, processes; checked, and without I/O."""

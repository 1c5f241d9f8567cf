"""A registry with more nodes than there are machines here: they are simulated, it is not."""

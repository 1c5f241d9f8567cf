"""palm beside the toolkits that do the same, each installed in an environment of its own."""

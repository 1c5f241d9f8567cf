"""What may be asked of the registry: a module for each thing that is asked about."""

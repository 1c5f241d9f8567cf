"""The commands, one a module: ``run(arguments) -> exit code``."""

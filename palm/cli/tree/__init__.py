"""The argument tree of ``palm``, by what the commands are for."""

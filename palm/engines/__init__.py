"""Engines: what runs functions, or starts processes, beyond what palm does itself."""

"""Panels: they have widgets, and show view models."""

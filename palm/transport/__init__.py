"""Carrying frames: ZeroMQ, and a network in memory."""

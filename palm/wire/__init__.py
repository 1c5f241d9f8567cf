"""Bytes <-> values: messages, batches, codecs."""

"""Bytes to meaning and back: one file a protocol, offsets as named constants."""

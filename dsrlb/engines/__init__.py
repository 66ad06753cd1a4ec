"""Engines run the data path over frames."""

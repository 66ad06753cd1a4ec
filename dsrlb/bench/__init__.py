"""Measurements of dsrlb against plain baselines: run by hand (``scripts/bench``), never as a test."""

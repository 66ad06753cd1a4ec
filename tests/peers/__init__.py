"""dsrlb beside others that do the same, in one run (``scripts/bench peers``)."""

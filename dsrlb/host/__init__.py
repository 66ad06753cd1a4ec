"""Everything that asks or changes Linux."""

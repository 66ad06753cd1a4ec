"""``python -m dsrlb``."""

from dsrlb.cli import main

main()

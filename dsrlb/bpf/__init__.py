"""BPF programs in C, and the objects compiled from them at build time, which are never committed."""

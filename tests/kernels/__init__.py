"""dsrlb on other kernels: Debian's, each booted in a virtual machine (``scripts/test-kernels``)."""

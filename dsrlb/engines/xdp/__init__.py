"""The XDP engine: the data path as a program in the kernel, and the control path's side of its maps."""

"""What is still to be done to a frame that a kernel passed on unfinished.

A sender whose interface computes checksums or cuts large segments leaves that for the interface;
on a virtual wire nobody has done it yet when the frame arrives.  A mode that changes what a
checksum covers, or that compares sizes with an MTU, has to know.
"""

from __future__ import annotations

from typing import NamedTuple


class Offload(NamedTuple):
    """``is_partial``: the TCP or UDP checksum covers the pseudo-header only, uncomplemented.

    ``segment_bytes``: the frame stands for segments with this much payload each; 0: for itself.
    """

    is_partial: bool
    segment_bytes: int

"""The networks of a lab: one file a mode, or an arrangement of several; all of them listed here."""

from __future__ import annotations

from dsrlb.lab.topologies.base import Topology
from dsrlb.lab.topologies.inline import INLINE
from dsrlb.lab.topologies.l2dsr import L2DSR
from dsrlb.lab.topologies.l3dsr import L3DSR
from dsrlb.lab.topologies.two_tier import TWO_TIER
from dsrlb.lab.topologies.two_tier_l3dsr import TWO_TIER_L3DSR

TOPOLOGIES: tuple[Topology, ...] = (L2DSR, L3DSR, INLINE, TWO_TIER, TWO_TIER_L3DSR)
BY_MODE = {topology.mode: topology for topology in TOPOLOGIES}

__all__ = ["BY_MODE", "TOPOLOGIES", "Topology"]

"""Forwarding modes: one file tells a mode's whole story; all of them are listed here."""

from __future__ import annotations

from dsrlb.modes.base import Mode
from dsrlb.modes.inline import INLINE
from dsrlb.modes.l2dsr import L2DSR
from dsrlb.modes.l3dsr import L3DSR
from dsrlb.modes.proxy import PROXY

MODES: tuple[Mode, ...] = (L2DSR, L3DSR, INLINE, PROXY)
BY_NAME = {mode.name: mode for mode in MODES}

__all__ = ["BY_NAME", "MODES", "Mode"]

"""What dsrlb is asked to do: words to values (words), values to services (draft), checked (problems)."""

from __future__ import annotations

from dsrlb.config.draft import DEFAULT_SCHEDULER, Config, Draft, Problem, service_of
from dsrlb.config.problems import MAX_BACKENDS, problems
from dsrlb.config.words import (
    PersistWord,
    Vip,
    parse_address,
    parse_backend,
    parse_interface,
    parse_mac,
    parse_name,
    parse_persist,
    parse_port,
    parse_vip,
)

__all__ = [
    "DEFAULT_SCHEDULER",
    "MAX_BACKENDS",
    "Config",
    "Draft",
    "PersistWord",
    "Problem",
    "Vip",
    "parse_address",
    "parse_backend",
    "parse_interface",
    "parse_mac",
    "parse_name",
    "parse_persist",
    "parse_port",
    "parse_vip",
    "problems",
    "service_of",
]

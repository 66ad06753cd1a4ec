"""What dsrlb is asked to do, by flags or by a file.

flags ────────────────► words ──► draft ──► problems ──► Config
file ──► toml, schema ────┘                              (places: which line said so)
"""

from __future__ import annotations

from dsrlb.config.checks import CheckWords, parse_check
from dsrlb.config.draft import OPTION_NAMES, Draft, service_of
from dsrlb.config.file import ENGINE_KEYS, config_in, read_config
from dsrlb.config.places import Config, Origin, Problem, located, told
from dsrlb.config.problems import MAX_BACKENDS, problems
from dsrlb.config.words import (
    DEFAULT_SCHEDULER,
    MAX_TIMEOUT_S,
    MAX_WEIGHT,
    Listen,
    PersistWord,
    Vip,
    parse_address,
    parse_backend,
    parse_folder,
    parse_instance,
    parse_interface,
    parse_mac,
    parse_metrics,
    parse_name,
    parse_persist,
    parse_port,
    parse_vip,
    spelt,
)

__all__ = [
    "DEFAULT_SCHEDULER",
    "ENGINE_KEYS",
    "MAX_BACKENDS",
    "MAX_TIMEOUT_S",
    "MAX_WEIGHT",
    "OPTION_NAMES",
    "CheckWords",
    "Config",
    "Draft",
    "Listen",
    "Origin",
    "PersistWord",
    "Problem",
    "Vip",
    "config_in",
    "located",
    "parse_address",
    "parse_backend",
    "parse_check",
    "parse_folder",
    "parse_instance",
    "parse_interface",
    "parse_mac",
    "parse_metrics",
    "parse_name",
    "parse_persist",
    "parse_port",
    "parse_vip",
    "problems",
    "read_config",
    "service_of",
    "spelt",
    "told",
]

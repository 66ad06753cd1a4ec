"""``dsrlb.toml`` to a Config, or every problem in it at once, each with its line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any

from dsrlb.config.draft import OPTION_NAMES, Draft, service_of
from dsrlb.config.keys import Key, Kind, Table, WrongType
from dsrlb.config.places import Config, Origin, Path, Problem, told
from dsrlb.config.problems import problems
from dsrlb.config.redirects import redirects_all
from dsrlb.config.schema import TABLES, TOP
from dsrlb.config.toml import MOST_BYTES, NotToml, parse
from dsrlb.engines.choice import EngineChoice
from dsrlb.errors import ConfigError, UsageError
from dsrlb.model import SAME_PORT, Backend, Timeouts
from dsrlb.proxying import DEFAULT_GROUP

# At the head of the file.
ENGINE_KEYS = ("engine", "max_flows", "max_new_flows", "xdp_mode", "instance", "on_exit", "state_dir")
DRAFT_FIELDS = {
    "scheduler": "scheduler",
    "on_all_down": "on_all_down",
    "slow_start": "slow_start_s",
    "passive": "passive",
    "proxy": "proxy",
    "limits": "limits",
}
Read = dict[str, Any]  # what is in a table: None where the value is malformed, nothing where there is none


def read_config(file: str | os.PathLike[str]) -> Config:
    """Return the configuration in a file.

    Raises ConfigError with every problem as ``FILE:LINE: sentence``, and UsageError when there is no such
    file, or none that can be read.
    """
    name = os.fspath(file)
    try:
        with FilePath(name).open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"{name} cannot be read ({why}); give the path of a dsrlb.toml") from None
    return config_in(content, name)


def config_in(content: bytes, name: str) -> Config:
    """Return the configuration in the content of a file of this name; ConfigError as ``read_config``."""
    try:
        document, lines = parse(content)
    except NotToml as error:
        raise ConfigError(f"{name}:{error.line}: {error.sentence}") from None
    origin = Origin(name, lines, content)
    found: list[Problem] = []
    top = _table(document, TOP, (), found)
    drafts = [_draft(service) for service in top.get("service") or ()]
    found += problems(drafts)
    if found:
        raise ConfigError(*told(found, origin))
    chosen = {name: top[name] for name in ENGINE_KEYS if name in top}
    services = tuple(service_of(draft) for draft in drafts)
    return Config(services, top.get("interfaces") or (), origin, EngineChoice(**chosen), top.get("metrics"))


def _draft(service: Read | None) -> Draft:
    """Return a service as far as it could be read."""
    if service is None:
        return Draft(None, None, (None,))
    backends = service.get("backend")
    times = {f"{name}_s": value for name, value in (service.get("timeouts") or {}).items() if value}
    return Draft(
        vip=service.get("vip"),
        mode=service.get("mode"),
        backends=_backends(service),
        options={name: service[name] for name in OPTION_NAMES if name in service},
        persist=service.get("persist"),
        timeouts=Timeouts(**times),
        label=service.get("name") or "",
        check=service.get("check"),
        routes=service.get("route") or (),
        backend_checks=tuple((one or {}).get("check") for one in backends or ()),
        **{field: service[name] for name, field in DRAFT_FIELDS.items() if name in service},
    )


def _backends(service: Read) -> tuple[Backend | None, ...]:
    """Return the backends as far as they could be read; none where a service needs none."""
    backends = service.get("backend")
    if backends is None:
        return () if "backend" not in service and redirects_all(service) else (None,)
    return tuple(map(_backend, backends))


def _backend(backend: Read | None) -> Backend | None:
    """Return a backend; None if it is not known where it is."""
    if not backend or not backend.get("address") or ("port" in backend and backend["port"] is None):
        return None
    weight = backend.get("weight", 1)
    return Backend(
        backend["address"],
        1 if weight is None else weight,
        backend.get("mac"),
        backend.get("port", SAME_PORT),
        backend.get("name") or "",
        groups=backend.get("group") or (DEFAULT_GROUP,),
        max_connections=backend.get("max_connections") or 0,
    )


# ----------------------------------------------------------------------------- tables


def _table(given: Mapping[str, Any], table: Table, at: Path, found: list[Problem]) -> Read:
    """Return what a table says, and add to ``found`` what is wrong with its keys and values."""
    found += (Problem((*at, name), _unknown(name, table)) for name in given if name not in _names(table))
    found += (
        Problem(at, f"{key.name} is missing{_in(table)}; add {_example(key)}")
        for key in table.keys
        if _is_needed(key, given) and key.name not in given
    )
    here = [key for key in table.keys if key.name in given]
    return {key.name: _value(given[key.name], key, (*at, key.name), found) for key in here}


def _is_needed(key: Key, given: Mapping[str, Any]) -> bool:
    return key.is_needed and not (key.unless is not None and key.unless.holds(given))


def _value(given: Any, key: Key, at: Path, found: list[Problem]) -> Any:
    """Return the value of a key; None if it is malformed."""
    try:
        if isinstance(key.takes, Kind):
            return key.takes.read(given)
        return _inner(given, key.takes, at, found)
    except WrongType:
        found.append(Problem(at, f"{key.name} is {_person(given)}, and must be {_wanted(key, given)}"))
    except UsageError as error:
        found.append(Problem(at, str(error)))
    return None


def _inner(given: Any, table: Table, at: Path, found: list[Problem]) -> Any:
    if not table.is_array:
        if not isinstance(given, dict):
            raise WrongType
        return _table(given, table, at, found)
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        raise WrongType
    return [_table(one, table, (*at, number), found) for number, one in enumerate(given)]


def _wanted(key: Key, given: Any) -> str:
    if isinstance(key.takes, Kind):
        near = get_close_matches(given.lower(), key.takes.choices, 1) if isinstance(given, str) else []
        return f"{key.takes.words}; " + (f"did you mean {near[0]}?" if near else f"write {_example(key)}")
    return f"{'tables' if key.takes.is_array else 'a table'}; write {_example(key)} and its keys below"


def _example(key: Key) -> str:
    return f"{key.name} = {key.takes.example}" if isinstance(key.takes, Kind) else key.takes.head


def _in(table: Table) -> str:
    return f" in {table.head}" if table is not TOP else ""


def _person(value: Any) -> str:
    """Return a TOML value as a sentence calls it, short."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f"the text {value[:60]!r}"
        case int() | float():
            return f"the number {str(value)[:60]}"
        case dict():
            return "a table"
        case list():
            return "a list"
        case _:
            return "a date or time"


def _unknown(name: str, table: Table) -> str:
    """Return what to say of a key that is not in a table: where it belongs, or what was meant."""
    shown = repr(name[:60])
    elsewhere = [other.head for other in TABLES if other is not table and name in _names(other)]
    if elsewhere:
        same = get_close_matches(name.lower(), _names(table), 1, cutoff=0.9)
        meant = f"; or did you mean {same[0]}?" if same else ""
        return f"{shown} is no key of {table.head}; it belongs under {' or '.join(elsewhere)}{meant}"
    near = get_close_matches(name.lower(), _names(table), 1)
    if near:
        return f"{shown} is no key of {table.head}; did you mean {near[0]}?"
    return f"{shown} is no key of {table.head}; there are {', '.join(_names(table))}"


def _names(table: Table) -> list[str]:
    return [key.name for key in table.keys]

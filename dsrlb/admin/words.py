"""The words of a request, and what becomes of one that goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dsrlb.admin.server import Reply, failed
from dsrlb.errors import DsrlbError, UsageError

Words = dict[str, Any]  # what was said beside "do" and "show"
_CALLED = {str: "a text", int: "a number", bool: "true or false"}

log = logging.getLogger("dsrlb")


@contextmanager
def told(reply: Reply) -> Iterator[None]:
    """Answer with what goes wrong."""
    try:
        yield
    except DsrlbError as error:
        reply(failed(str(error), error.exit_code))
    except Exception as error:
        log.debug("traceback", exc_info=True)
        reply(failed(f"{type(error).__name__}: {error}; please report this", DsrlbError.exit_code))


def take(words: Words, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return what was said under these names, None for what was not.  UsageError for anything else."""
    for name, value in words.items():
        if name not in kinds:
            raise UsageError(f"this request has no {name!r}")
        if value is not None and type(value) is not kinds[name]:
            raise UsageError(f"{name} {value!r} is not {_CALLED[kinds[name]]}")
    return {name: words.get(name) for name in kinds}

"""Whom HAProxy runs as: somebody of its own, where there is one, for it answers whoever asks."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

USER = "haproxy"  # and group


class RunAs(NamedTuple):
    """Whom HAProxy is to run as; empty: as who starts it."""

    user: str = ""
    group: str = ""


AS_WHO_STARTS_IT = RunAs()


def own_user() -> RunAs:
    """Return HAProxy's own user and group, where there are such and this is root."""
    if os.geteuid() or not _is_known(pwd.getpwnam):
        return AS_WHO_STARTS_IT
    return RunAs(USER, USER if _is_known(grp.getgrnam) else "")


def _is_known(look: Callable[[str], object]) -> bool:
    with suppress(KeyError):
        look(USER)
        return True
    return False

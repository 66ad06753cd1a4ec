"""Errors a person is meant to read: one sentence each, and the exit code that goes with it."""

from __future__ import annotations


class DsrlbError(Exception):
    """Something failed; the message says what, where and what to do.  Exit code 1."""

    exit_code = 1


class UsageError(DsrlbError):
    """The command line itself is wrong (a malformed value).  Exit code 2."""

    exit_code = 2


class ConfigError(DsrlbError):
    """The configuration cannot work here: each problem is one sentence.  Exit code 3."""

    exit_code = 3

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class HostError(DsrlbError):
    """A privilege or a kernel feature is missing.  Exit code 4."""

    exit_code = 4

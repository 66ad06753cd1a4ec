"""Persistence: for some time after its last connection, a client gets the server that it had.

A *template* stands for a client, or for its network, at one service, and names the backend::

    0                     20                     36
    +---------------------+----------------------+
    | service key (20)    | client network (16)  |      the client's address, bits behind the prefix zero
    +---------------------+----------------------+

It is kept for a minute (the time-out of a flow that opens) until the client proves that it is there,
then for the service's own time after each connection that is established, or UDP flow that begins: so
forged SYNs fill the table for a minute at most.

*Source*: net/netfilter/ipvs/ip_vs_core.c, ``ip_vs_sched_persist``; the word is IPVS's, where a template also
lives for as long as it has connections, and leads to a server of weight 0 unless told otherwise
(``expire_quiescent_template``).
"""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.flows import SWEEP_FLOWS

MAX_TEMPLATES = 262_144  # about 250 bytes each


class Template:
    """The backend of a client, and until when (whole seconds)."""

    __slots__ = ("backend", "until_s")

    def __init__(self, backend: bytes, until_s: int) -> None:
        self.backend = backend
        self.until_s = until_s


class TemplateTable:
    """Templates by key, in bounded memory.  ``now_s`` is always an argument."""

    def __init__(
        self, max_templates: int = MAX_TEMPLATES, templates: dict[bytes, Template] | None = None
    ) -> None:
        """``templates``: where they stand, if not in a dictionary of its own."""
        self.max_templates = max_templates
        self.refused = 0  # clients that found the table full
        self._templates: dict[bytes, Template] = {} if templates is None else templates
        self.get = self._templates.get
        self._sweep: Iterator[bytes] = iter(())

    def __len__(self) -> int:
        return len(self._templates)

    def __iter__(self) -> Iterator[tuple[bytes, Template]]:
        yield from self._templates.items()

    def backend(self, key: bytes, now_s: int) -> bytes | None:
        """Return the backend of a client, if it has one."""
        template = self._templates.get(key)
        return template.backend if template is not None and now_s <= template.until_s else None

    def keep(self, key: bytes, backend: bytes, until_s: int) -> None:
        """Let a client have this backend until then; never for a shorter time than it has it already."""
        template = self._templates.get(key)
        if template is not None:
            if template.backend == backend:
                template.until_s = max(template.until_s, until_s)
            else:
                template.backend, template.until_s = backend, until_s
        elif len(self._templates) < self.max_templates:
            self._templates[key] = Template(backend, until_s)
        else:
            self.refused += 1

    def expire(self, now_s: int, most: int = SWEEP_FLOWS) -> None:
        """Forget templates whose time is over, looking at a bounded number per call."""
        for _ in range(most):
            key = next(self._sweep, None)
            if key is None:
                self._sweep = iter(list(self._templates))
                break
            if now_s > self._templates[key].until_s:
                del self._templates[key]

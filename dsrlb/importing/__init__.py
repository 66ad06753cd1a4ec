"""Configurations of others as a ``dsrlb.toml``, and a report of what has no equivalent.

::

    ipvsadm -S ────────────────────► ipvsadm ────┐
    keepalived.conf ──► lines ──► tree ──► keepalived ──► Virtual, Note ──► written ──► TOML
"""

"""The control path: look at the host, compile the table, install it if it changed.

::

    serve     from the first look at the host to the last rule taken back
    loop      events and clock ticks; nearly all of them have one reaction: look again
    front     the VIPs on the interfaces where clients' frames come in
    backends  the way to each backend, and the MAC at its end
    standings what health and operators say of each backend
    reload    from a file that changed to a configuration that can take over at once
    planning  what another configuration would change
    history   configurations that were in force
"""

from __future__ import annotations

from dsrlb.control.loop import Loop
from dsrlb.control.serve import Beside, serve

__all__ = ["Beside", "Loop", "serve"]

"""The admin socket: an operator sees and steers a running balancer.

::

    dsrlb show, drain, …                     this process
    asking ──── one JSON line ────► server ──event──► control loop ──► requests
           ◄─── one JSON line ─────        ◄──reply──                  shown, flows, steering

``server`` has a thread of its own: a client that is slow, silent or gone costs it a buffer, and the control
loop nothing.  ``requests`` runs on the control loop, so what is shown fits together, and what is changed
is changed by the one thread that changes it.  docs/admin.md has the protocol.
"""

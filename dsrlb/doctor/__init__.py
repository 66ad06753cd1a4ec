"""``dsrlb doctor``: what is wrong on the way from the clients to the servers, and what mends it.

::

    facts_*.py   ask the host, the wire, the servers   ─► facts: plain values
    judge_*.py   pure                                  ─► findings: ok, wrong, cannot tell
    look_*.py    one after the other, for a scene      ─► findings, as cli/doctor.py prints them
"""

"""What would become of a frame: told by the data path itself, on a state that is thrown away.

::

    State in use ──read──► Layer (copies of what is touched) ◄──written── datapath.decide
    maps         ──read──┘                                                      │
                                        State before, State after, Verdict ──► Foretold

The answer cannot differ from what an engine then does: it is the same code, on what that engine remembers.
"""

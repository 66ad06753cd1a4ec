"""What a running balancer counts, for Prometheus, and whether it is well, over HTTP.

::

    Prometheus ──── GET ────► server ──event──► control loop ──► moment
               ◄─── text ────   page ◄──────────────────────────  (references and small copies)

``server`` has a thread of its own, in which ``page`` makes the text: the control loop only hands over what
holds at that moment.  docs/metrics.md explains every metric.
"""

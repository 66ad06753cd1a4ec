"""An interface that frames only leave by: where a backend is behind another one than its VIP's."""

from __future__ import annotations

from dsrlb.frameio.af_packet import open_unbound, refusal
from dsrlb.frameio.sendmmsg import SendBatch, Sent


class WayOut:
    """Queue frames with ``send``, let them go with ``flush``; nothing is ever received.

    Errors: ``ConfigError`` (no such interface), ``HostError`` (privilege, kernel).
    """

    def __init__(self, interface: str) -> None:
        """Bind to the interface with protocol 0: the kernel hands such a socket no frame."""
        self._socket = open_unbound(interface)
        try:
            self._socket.bind((interface, 0))
        except OSError as error:
            self._socket.close()
            raise refusal(interface, error) from error
        self._batch = SendBatch(self._socket.fileno())
        self._queue: list[tuple[bytes, bytes]] = []

    def send(self, vnet: bytes, frame: bytes) -> None:
        """Queue a frame for the next ``flush``."""
        self._queue.append((vnet, frame))

    def flush(self) -> Sent:
        """Send what is queued, and tell what became of it."""
        queue, self._queue = self._queue, []
        return self._batch.send_all(queue)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

"""An interface that frames only leave by: where a backend is behind another one than its VIP's."""

from __future__ import annotations

from collections.abc import Sequence

from dsrlb.frameio.af_packet import open_unbound, refusal
from dsrlb.frameio.sendmmsg import SendBatch, Sent


class WayOut:
    """Sends frames; nothing is ever received.

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

    def send_all(self, frames: Sequence[tuple[bytes, bytes]]) -> Sent:
        """Send (vnet header, frame) pairs in order, and tell what became of them."""
        return self._batch.send_all(frames)

    def present(self) -> bool:
        """Tell whether the interface still exists (it may be down)."""
        return bool(self._socket.getsockname()[0])

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

"""How often clients may be told something: bounded in all, and for each network of clients.

An answer that anybody can provoke is a tool for attackers unless it is rationed.
*Source*: RFC 4443, section 2.4 (f); the whole is Linux's ``icmp_msgs_per_sec``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dsrlb.model import V4_MAPPED

PER_SECOND, PER_NETWORK = 1000, 50
_IPV4_24, _IPV6_64 = 15, 8  # bytes of a 16-byte address that name its network


@dataclass(slots=True)
class Budget:
    """What is left of this second."""

    second_s: int = -1
    left: int = 0
    spent: dict[bytes, int] = field(default_factory=dict)  # by network: never longer than PER_SECOND

    def spend(self, client: bytes, now_s: int) -> bool:
        """Return whether a client (16 bytes) may be told now, and count it."""
        if now_s != self.second_s:
            self.second_s, self.left = now_s, PER_SECOND
            self.spent.clear()
        network = client[: _IPV4_24 if client.startswith(V4_MAPPED) else _IPV6_64]
        spent = self.spent.get(network, 0)
        if not self.left or spent >= PER_NETWORK:
            return False
        self.left -= 1
        self.spent[network] = spent + 1
        return True

"""Checks of servers.  A kind is a file that ends in one ``Kind``; all are listed here."""

from dsrlb.health import command, dns, http, icmp, tcp, udp

KINDS = (tcp.KIND, http.HTTP, http.HTTPS, udp.KIND, dns.KIND, icmp.KIND, command.KIND)
BY_NAME = {kind.name: kind for kind in KINDS}

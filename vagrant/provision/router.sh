#!/bin/sh
# The router: between client, balancer and the far server; it brings the routed VIPs to the balancer.
set -eu
# shellcheck source=vagrant/provision/lib.sh
. "${0%/*}/lib.sh"

for network in 0 1 23; do
    add_ipv6 "$network"
done
say "forwarding"
# rp_filter: the answers of the l3dsr server come from a VIP whose route leads to the balancer.
for key in ip_forward=1 conf.all.rp_filter=0 conf.default.rp_filter=0; do
    sysctl -qw "net.ipv4.$key"
done
for network in 0 1 23; do
    own=$(own_in "$network")
    sysctl -qw "net.ipv4.conf.${own% *}.rp_filter=0"
done
sysctl -qw net.ipv6.conf.all.forwarding=1

say "the VIPs of l3dsr are at the balancer"
ip route replace 198.18.10.1/32 via 198.18.1.10
ip -6 route replace 2001:db8:10::1/128 via 2001:db8:1::10

#!/bin/sh
# The router, between all networks; it brings the VIPs to the balancers: router.sh active-standby
# With active-active it divides the flows among both, or brings all to those that are named:
# router.sh active-active [lb1] [lb2]
set -eu
# shellcheck source=vagrant/provision/lib.sh
. "${0%/*}/lib.sh"

pair=${1:-}
check_pair "$pair"
shift
[ $# -gt 0 ] || set -- lb1 lb2

for network in 0 1 23 31 32; do
    add_ipv6 "$network"
done
say "forwarding"
# rp_filter: answers come from a VIP whose route leads to the balancers.
# fib_multipath_hash_policy: flows are divided by addresses and ports, so that one has one way.
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
    net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
    net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1
for network in 0 1 23 31 32; do
    own=$(own_in "$network")
    sysctl -qw "net.ipv4.conf.${own% *}.rp_filter=0"
done

lead() { # VIP PLACE...: of 198.18.PLACE and 2001:db8:PLACE, whichever the VIP's family has
    vip=$1 ways=''
    shift
    for place in "$@"; do
        case $vip in
        *:*) ways="$ways nexthop via 2001:db8:${place%.*}::${place#*.}" ;;
        *) ways="$ways nexthop via 198.18.$place" ;;
        esac
    done
    # An IPv6 route is not replaced where the number of its ways is another one.
    case $vip in *:*) ip -6 route flush exact "$vip/128" ;; esac
    # shellcheck disable=SC2086  # a list of words
    ip route replace "$vip" $ways
}

if [ "$pair" = active-standby ]; then
    say "VIPs of l2dsr: whoever answers for them; of l3dsr: at the balancer whose turn it is"
    ip route flush exact "$NEAR/32"
    ip -6 route flush exact "$NEAR6/128"
    lead "$FAR" "$FRONT.$FLOATING_HOST"
    lead "$FAR6" "$FRONT.$FLOATING_HOST"
else
    places=''
    for one in "$@"; do
        case $one in
        lb1) places="$places 31.10" ;;
        lb2) places="$places 32.20" ;;
        *) refuse "there is no balancer '$one': lb1 or lb2" ;;
        esac
    done
    say "all VIPs are at $*"
    for vip in "$NEAR" "$NEAR6" "$FAR" "$FAR6"; do
        # shellcheck disable=SC2086  # a list of words
        lead "$vip" $places
    done
fi
at_every_start "$pair" "$@"

#!/bin/sh
# A real server's network, and what its mode asks of it: backend.sh l2dsr|l3dsr
set -eu
# shellcheck source=vagrant/provision/lib.sh
. "${0%/*}/lib.sh"

mode=$1
case $mode in
l2dsr) network=1 vips='198.18.1.100 2001:db8:1::100' ;;
l3dsr) network=23 vips='198.18.10.1 2001:db8:10::1' ;;
*) echo "backend.sh: there is no mode $mode here: l2dsr or l3dsr" >&2; exit 2 ;;
esac

add_ipv6 "$network"
reach_the_rest_by_the_router "$network"
set -- --mode "$mode"
for vip in $vips; do
    set -- "$@" --vip "$vip"
done
if [ "$mode" = l3dsr ]; then
    # The default route is the provider's: neither the balancer nor any client is there.
    own=$(own_in "$network")
    set -- "$@" --device "${own% *}" --client-net 198.18.0.0/24 --client-net 2001:db8:0::/64
fi
say "dsrlb backend setup $*"
dsrlb backend setup "$@"

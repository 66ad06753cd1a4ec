#!/bin/sh
# A real server: its network, what its mode asks of it, its web server: backend.sh l2dsr|l3dsr
set -eu
# shellcheck source=vagrant/provision/lib.sh
. "${0%/*}/lib.sh"

mode=${1:-}
case $mode in
l2dsr) network=$FRONT vips="$NEAR $NEAR6" ;;
l3dsr) network=23 vips="$FAR $FAR6" ;;
*) refuse "there is no mode '$mode' here: l2dsr or l3dsr" ;;
esac

add_ipv6 "$network"
reach_the_rest_by_the_router "$network"
set -- --mode "$mode"
for vip in $vips; do
    set -- "$@" --vip "$vip"
done
if [ "$mode" = l3dsr ]; then
    # The default route is the provider's: neither the balancers nor any client is there.  All of the lab
    # counts as clients: when the balancers check, they ask as clients do.
    own=$(own_in "$network")
    set -- "$@" --device "${own% *}" --client-net 198.18.0.0/15 --client-net 2001:db8::/32
fi
say "dsrlb backend setup $*"
dsrlb backend setup "$@"
systemctl restart nginx
at_every_start "$mode"

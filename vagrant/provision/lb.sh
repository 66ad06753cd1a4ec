#!/bin/sh
# The balancer's network.  The VIPs are not configured: dsrlb answers for them by itself.
set -eu
# shellcheck source=vagrant/provision/lib.sh
. "${0%/*}/lib.sh"

add_ipv6 1
reach_the_rest_by_the_router 1

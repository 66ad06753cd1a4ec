#!/bin/sh
# The client's network.
set -eu
# shellcheck source=vagrant/provision/lib.sh
. "${0%/*}/lib.sh"

add_ipv6 0
reach_the_rest_by_the_router 0
at_every_start "$@"

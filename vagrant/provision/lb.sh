#!/bin/sh
# A balancer: its network, its share of the work, and dsrlb: lb.sh active-standby|active-active
# The VIPs are not configured: dsrlb answers for them by itself.
set -eu
# shellcheck source=vagrant/provision/lib.sh
. "${0%/*}/lib.sh"

TURN=/run/dsrlb-turn # there while keepalived says whose turn it is (turn.sh)
pair=${1:-}
check_pair "$pair"
own=$(own_in "$FRONT")
device=${own% *} host=${own#* }
case $host in
10) uplink=31 other_host=20 priority=150 ;;
*) uplink=32 other_host=10 priority=100 ;;
esac

configure_dsrlb() { # DEVICE: where clients' packets come in
    say "dsrlb for what comes in by $1"
    sed "s/^interfaces = .*/interfaces = [\"$1\"]/" "$HERE/../dsrlb.toml" >/etc/dsrlb.toml
}

configure_keepalived() {
    say "keepalived, priority $priority: whose turn it is has 198.18.$FRONT.$FLOATING_HOST and runs dsrlb"
    cat >/etc/keepalived/keepalived.conf <<END
global_defs {
    router_id $(hostname)
    script_user root
}
vrrp_instance dsrlb {
    version 3
    state BACKUP
    nopreempt                        # who comes back waits for the other one's end
    interface $device
    virtual_router_id 51
    priority $priority
    advert_int 0.3
    unicast_src_ip 198.18.$FRONT.$host
    unicast_peer {
        198.18.$FRONT.$other_host
    }
    virtual_ipaddress {
        198.18.$FRONT.$FLOATING_HOST/32 dev $device
    }
    virtual_ipaddress_excluded {
        2001:db8:$FRONT::$FLOATING_HOST/128 dev $device
    }
    notify_master "$HERE/turn.sh start"
    notify_backup "$HERE/turn.sh stop"
    notify_fault "$HERE/turn.sh stop"
    notify_stop "$HERE/turn.sh stop"
}
END
}

add_ipv6 "$FRONT"
add_ipv6 "$uplink"
if [ "$pair" = active-standby ]; then
    reach_the_rest_by_the_router "$FRONT"
    [ -e "$TURN" ] || systemctl stop dsrlb
    configure_dsrlb "$device"
    configure_keepalived
    [ -e "$TURN" ] || echo stop >"$TURN"
    systemctl restart keepalived
else
    reach_the_rest_by_the_router "$uplink"
    rm -f "$TURN"
    systemctl stop keepalived
    own=$(own_in "$uplink")
    configure_dsrlb "${own% *}"
    systemctl restart dsrlb
fi
at_every_start "$pair"

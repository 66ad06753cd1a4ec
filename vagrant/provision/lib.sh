# shellcheck shell=sh disable=SC2034  # those who source it use what is set here
# Shared by the network scripts.  Sourced by sh.
#
# Interfaces are found by the address that Vagrant gave them: their names differ from provider to
# provider.  What a machine is in IPv4, 198.18.NETWORK.HOST, it is in IPv6: 2001:db8:NETWORK::HOST.

HERE=${0%/*}
FRONT=1 ROUTER_HOST=254
FLOATING_HOST=9 # of the balancer whose turn it is
NEAR=198.18.1.100 NEAR6=2001:db8:1::100 # the VIPs of l2dsr
FAR=198.18.10.1 FAR6=2001:db8:10::1     # ... and of l3dsr

say() {
    printf '==> %s: %s\n' "$(hostname)" "$*"
}

refuse() { # SENTENCE
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 2
}

check_pair() { # WORD
    case $1 in
    active-standby | active-active) ;;
    *) refuse "there is no way '$1' to share the work: active-standby or active-active" ;;
    esac
}

own_in() { # NETWORK: prints the interface there, and this machine's host number
    ip -o -4 address show to "198.18.$1.0/24" | {
        while read -r _ device _ address _; do
            [ "$device" != lo ] || continue # a VIP
            address=${address%%/*}
            printf '%s %s\n' "$device" "${address##*.}"
            exit
        done
        echo "$0: no interface of this machine has an address in 198.18.$1.0/24" >&2
        exit 1
    }
}

add_ipv6() { # NETWORK
    own=$(own_in "$1")
    say "2001:db8:$1::${own#* } on ${own% *}"
    ip -6 address replace "2001:db8:$1::${own#* }/64" dev "${own% *}" nodad
}

reach_the_rest_by_the_router() { # NETWORK: this machine's own
    own=$(own_in "$1")
    say "everything of the lab beyond network $1 by way of the router"
    ip route replace 198.18.0.0/15 via "198.18.$1.$ROUTER_HOST" dev "${own% *}"
    ip -6 route replace 2001:db8::/32 via "2001:db8:$1::$ROUTER_HOST" dev "${own% *}"
}

at_every_start() { # WORDS: has this script run with them whenever the machine starts
    cat >/etc/systemd/system/dsrlb-lab.service <<END
[Unit]
Description=The network of this machine in the lab of dsrlb
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$0 $*

[Install]
WantedBy=multi-user.target
END
    systemctl daemon-reload
    systemctl --quiet enable dsrlb-lab.service
}

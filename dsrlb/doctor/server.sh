#!/bin/sh
# Say what a real server is like: a line each, a word and what there is to say about it.  Changes nothing.
#
#   server.sh [WORD=ADDRESS]...       from=ADDRESS   the way to this address: a client's
#                                     by=ADDRESS     what is sent by this gateway: the balancer
#
# A POSIX shell is enough.  Addresses and routes come from ip, iproute2's or busybox's, else from /proc.
# dsrlb/doctor/facts_server.py reads the lines, and says what they mean.
set -u
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
export LC_ALL PATH

has() { # COMMAND
    command -v "$1" >/dev/null 2>&1
}

say() { # WORD: puts it before each line, of which there may be too many to be of use
    sed -n -e "1,2000s|^|$1 |p"
}

file() { # WORD FILE
    [ ! -r "$2" ] || say "$1" <"$2"
}

printf 'order %s\n' "$(printf '\001\000' | od -An -tx2 | tr -d ' ')"

if has ip && ip -o link show >/dev/null 2>&1; then
    ip -o link show | say link
    ip -o address show | say address
    for family in -4 -6; do
        ip "$family" route show default 2>/dev/null | say "route default${family#-}"
        for word in "$@"; do
            address=${word#*=}
            case $family$address in -4*:*) continue ;; -6*:*) ;; -6*) continue ;; esac
            case $word in
            from=*) ip -o "$family" route get "$address" 2>/dev/null | say "route $address" ;;
            by=*) ip "$family" route show via "$address" 2>/dev/null | say "by $address" ;;
            esac
        done
    done
else
    for device in /sys/class/net/*; do
        name=${device##*/}
        printf 'device %s %s %s %s %s\n' "$name" "$(cat "$device/flags")" "$(cat "$device/mtu")" \
            "$(cat "$device/type")" "$(cat "$device/address" 2>/dev/null)"
    done
    file fib_trie /proc/net/fib_trie
    file if_inet6 /proc/net/if_inet6
fi
file rt /proc/net/route

for path in /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/conf/*/arp_ignore \
    /proc/sys/net/ipv4/conf/*/arp_announce /proc/sys/net/ipv4/ip_forward; do
    [ ! -r "$path" ] || printf 'sysctl %s %s\n' "${path#/proc/sys/net/}" "$(cat "$path")"
done

# Sockets that listen (TCP, state 0A) or that nobody is connected to (UDP, 07): addresses as they are there.
for table in tcp:0A tcp6:0A udp:07 udp6:07; do
    [ ! -r "/proc/net/${table%:*}" ] || sed -n "s/^ *[0-9]*: \([0-9A-F]*:[0-9A-F]*\) [0-9A-F]*:[0-9A-F]* ${table#*:} .*/listen ${table%:*} \1/p" \
        "/proc/net/${table%:*}"
done

# What takes tunnels out of packets where no tunnel device does: programs on the ways in.
if has tc && tc qdisc show >/dev/null 2>&1; then
    echo "tc yes"
    tc qdisc show | sed -n 's/^qdisc \(clsact\|ingress\) .* dev \([^ ]*\) .*/\2/p' | while read -r device; do
        tc filter show dev "$device" ingress 2>/dev/null | say "filter $device"
    done
fi

for name in snmp netstat; do
    file count "/proc/net/$name"
done
echo end

#!/bin/sh
# keepalived says whose turn it is, dsrlb runs where it is: turn.sh start|stop
set -eu

TURN=/run/dsrlb-turn # what was said last; not there: both balancers are active, and nobody has turns
[ -e "$TURN" ] || exit 0
echo "$1" >"$TURN"

still() { # WORD: whether that is what was said last
    [ "$(cat "$TURN" 2>/dev/null)" = "$1" ]
}

if [ "$1" = stop ]; then
    systemctl stop dsrlb
    exit
fi
# While the other one still answers for a VIP, dsrlb refuses to start.
while still start && ! systemctl start dsrlb; do
    sleep 0.5
done
if still stop; then systemctl stop dsrlb; fi

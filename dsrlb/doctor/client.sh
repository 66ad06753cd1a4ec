#!/bin/sh
# Say how VIPs are to be reached from here: a line each, a word and what there is to say.  Changes nothing.
#
#   client.sh TRIES [ADDRESS PORT]...       connects so often to each, but not on and on where none answers
#
# Connects by whatever is there: python3, bash or nc.  dsrlb/doctor/facts_client.py reads the lines.
set -u
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
export LC_ALL PATH
WITHIN=3 # seconds for one connection
ENOUGH=3 # failures at one place

PROGRAM='
import socket, sys
address, port, tries, enough, within = sys.argv[1], *map(int, sys.argv[2:])
failed = 0
for _ in range(tries):
    try:
        socket.create_connection((address, port), within).close()
        word = "ok"
    except ConnectionRefusedError:
        word = "refused"
    except (TimeoutError, socket.timeout):
        word = "silent"
    except OSError as error:
        word = f"unreachable {error.strerror}"
    print("try", address, port, word)
    failed += word != "ok"
    if failed == enough:
        break
'

has() { # COMMAND
    command -v "$1" >/dev/null 2>&1
}

told() { # EXIT-CODE WORDS: says what they mean
    case $1:$2 in
    0:*) echo ok ;;
    *[Rr]efused*) echo refused ;;
    *nreachable*) echo "unreachable $2" ;;
    *) echo silent ;;
    esac
}

connect() { # ADDRESS PORT
    case $tool in
    bash)
        # shellcheck disable=SC2016  # the words are the other shell's
        said=$(timeout "$WITHIN" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>&1)
        told $? "$said"
        ;;
    nc)
        said=$(nc -v -z -w "$WITHIN" "$1" "$2" 2>&1 </dev/null)
        told $? "$said"
        ;;
    esac
}

tool=none
for one in python3 bash nc; do
    if has "$one" && { [ "$one" != bash ] || has timeout; }; then
        tool=$one
        break
    fi
done
echo "tool $tool"
tries=$1
shift
while [ $# -ge 2 ] && [ "$tool" != none ]; do
    if has ip; then ip -o route get "$1" 2>/dev/null | sed -e "s|^|way $1 |"; fi
    number=0
    failed=0
    if [ "$tool" = python3 ]; then
        python3 -c "$PROGRAM" "$1" "$2" "$tries" "$ENOUGH" "$WITHIN"
        number=$tries
    fi
    while [ "$number" -lt "$tries" ] && [ "$failed" -lt "$ENOUGH" ]; do
        number=$((number + 1))
        word=$(connect "$1" "$2")
        [ "$word" = ok ] || failed=$((failed + 1))
        echo "try $1 $2 $word"
    done
    shift 2
done
echo end

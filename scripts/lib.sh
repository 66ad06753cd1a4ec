# shellcheck shell=bash
# Shared by the scripts beside it: what they need is installed here.  Sourced by bash, with ROOT set.

VENV=$ROOT/.venv
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # sudo and su may have left them out
export PATH

say() {
    printf '==> %s\n' "$*"
}

fail() { # EXIT-CODE SENTENCE
    printf '%s: %s\n' "$(basename "$0")" "$2" >&2
    exit "$1"
}

need_root() {
    [ "$(id -u)" -eq 0 ] ||
        fail 4 "network namespaces and apt need root: run it with sudo (scripts/check runs what needs none)"
}

# --- system packages ------------------------------------------------------------------------------

# A command that must be there, and the package it comes in (Debian and Ubuntu).
TOOLS='
python3     python3
ip          iproute2
sysctl      procps
nginx       nginx-light
curl        curl
tcpdump     tcpdump
ethtool     ethtool
ping        iputils-ping
arping      iputils-arping
busybox     busybox
haproxy     haproxy
openssl     openssl
'

# What only tests need, and not every distribution has.
TEST_TOOLS='
shellcheck  shellcheck
h2load      nghttp2-client
wrk         wrk
vagrant     vagrant vagrant-libvirt
keepalived  keepalived
ssh         openssh-client
sshd        openssh-server
linux.uml   user-mode-linux
modprobe    kmod
'

packages_of() { # TOOLS: prints the packages of those that are not there
    while read -r tool package; do
        [ -z "$tool" ] || command -v "$tool" >/dev/null || echo "$package"
    done <<<"$1"
}

missing_packages() {
    packages_of "$TOOLS"
    # Debian splits venv off python3; a Python without it is of no use here.
    if ! command -v python3 >/dev/null || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        echo python3-venv
    fi
}

# Debian starts and enables a service as soon as its package is installed.  The lab starts an nginx and a
# HAProxy of its own, in its namespaces, tests an sshd, keepalived: on the machine itself none is wanted.
POLICY=/usr/sbin/policy-rc.d
POLICY_MARK='# written by dsrlb scripts/lib.sh for the length of one apt-get install'

hold_services() {
    [ ! -e "$POLICY" ] || return 0
    printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY"
    chmod 755 "$POLICY"
}

release_services() {
    if [ -f "$POLICY" ] && grep -qxF "$POLICY_MARK" "$POLICY"; then rm -f "$POLICY"; fi
}

apt_get() { # as apt-get, into the log
    apt-get "$@" >"$log" 2>&1 </dev/null && return 0
    tail -n 15 "$log" >&2
    fail 1 "apt-get $* failed (its log: $log)"
}

install_packages() { # with FOR_TESTS set, the tests' tools as well, but for those that apt does not have
    local packages wanted log one
    packages=$(missing_packages | tr '\n' ' ')
    wanted=$(packages_of "${FOR_TESTS:+$TEST_TOOLS}" | tr '\n' ' ')
    [ -n "$packages$wanted" ] || return 0
    if ! command -v apt-get >/dev/null; then
        [ -n "$packages" ] || return 0
        fail 4 "this machine has no apt-get: install what corresponds to Debian's $packages, then run it again"
    fi
    log=$(mktemp)
    trap release_services EXIT
    trap 'exit 130' INT TERM
    hold_services
    export DEBIAN_FRONTEND=noninteractive
    apt_get update -q
    for one in $wanted; do
        if apt-cache show "$one" >/dev/null 2>&1; then packages="$packages$one "; else say "apt has no $one"; fi
    done
    if [ -n "$packages" ]; then
        say "installing with apt: $packages"
        # shellcheck disable=SC2086  # a list of words
        apt_get install -qy --no-install-recommends $packages
    fi
    release_services
    trap - EXIT INT TERM
    rm -f "$log"
    for one in nginx:nginx haproxy:haproxy openssh-server:ssh keepalived:keepalived; do
        case $packages in *${one%:*}*)
            if [ -d /run/systemd/system ]; then systemctl --quiet disable "${one#*:}.service" || true; fi ;;
        esac
    done
}

# --- Python and the virtual environment -----------------------------------------------------------

find_python() { # prints the first Python >= 3.10 that can make a virtual environment
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if command -v "$name" >/dev/null && "$name" -B -c \
            'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail 4 "no Python >= 3.10 with the venv module was found: apt-get install python3 python3-venv"
}

make_venv() { # EXTRAS, such as [test,check], or nothing: leaves $VENV ready with dsrlb in it
    local extras=$1 base python
    base="$(cat "$ROOT/pyproject.toml" "$ROOT/setup.py" | cksum) $ROOT"
    # The pattern: what was made with extras serves those who want none as well.
    case $(cat "$VENV/made-for" 2>/dev/null) in "$base $extras"*)
        # The BPF programs are compiled with what pip installs for the build: a changed one needs it again.
        "$VENV/bin/python" -c 'import dsrlb, click' 2>/dev/null &&
            (cd "$ROOT" && "$VENV/bin/python" -m dsrlb.bpf.compile >/dev/null 2>&1) && return 0 ;;
    esac
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python)
        say "making a virtual environment in .venv with $("$python" --version)"
        "$python" -B -m venv --clear "$VENV" || fail 1 "$python cannot make a virtual environment in $VENV"
    fi
    rm -f "$VENV/made-for"
    say "installing dsrlb$extras and its dependencies into .venv with pip"
    # By environment: an older pip does not know this option, and would stop at it.
    PIP_ROOT_USER_ACTION=ignore "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
        --no-input --no-cache-dir --prefer-binary -e "$ROOT$extras" ||
        fail 1 "pip could not install dsrlb$extras (is the package index reachable?)"
    printf '%s\n' "$base $extras" >"$VENV/made-for"
}

build_wheel() { # FOLDER: leaves the wheel of this checkout there; after make_venv
    rm -rf "$ROOT/build/lib" # of an earlier build: a module that is gone would be packed again
    "$VENV/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-input --no-deps --wheel-dir "$1" "$ROOT" ||
        fail 1 "pip could not build the wheel (is the package index reachable?)"
}

# What root wrote into the checkout of a user belongs to that user.
give_back() {
    local path
    [ "$(id -u)" -eq 0 ] && [ -n "${SUDO_UID:-}" ] && [ "$SUDO_UID" != 0 ] || return 0
    for path in "$VENV" "$ROOT"/.*_cache "$ROOT"/.hypothesis "$ROOT"/*.egg-info; do
        [ ! -e "$path" ] || chown -R -h "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$path"
    done
}

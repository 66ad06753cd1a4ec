#!/bin/sh
# Once, on each machine: packages, and dsrlb from the wheel where the role has it.  install.sh ROLE
set -eu

say() { printf '==> %s\n' "$*"; }

role=${1:-}
export DEBIAN_FRONTEND=noninteractive
case $role in
client) packages='curl tcpdump iputils-ping iputils-tracepath' ;;
router) packages='tcpdump' ;;
lb) packages='python3-venv tcpdump keepalived' ;;
backend) packages='python3-venv tcpdump nginx-light kmod' ;;
*) echo "install.sh: there is no role '$role': client, router, lb or backend" >&2; exit 2 ;;
esac
say "installing $packages"
apt-get update -q
# shellcheck disable=SC2086  # a list of words
apt-get install -qy --no-install-recommends $packages

install_dsrlb() { # where scripts/dsrlb.service looks for it
    say "installing dsrlb from the wheel into /opt/dsrlb/.venv"
    pip=/opt/dsrlb/.venv/bin/pip
    [ -x "$pip" ] || python3 -m venv /opt/dsrlb/.venv
    # A wheel of the same version may have other contents, and would be passed by.
    [ ! -x /opt/dsrlb/.venv/bin/dsrlb ] || "$pip" uninstall --quiet --disable-pip-version-check --yes dsrlb
    "$pip" install --quiet --disable-pip-version-check /vagrant/wheels/dsrlb-*.whl
    ln -sf /opt/dsrlb/.venv/bin/dsrlb /usr/local/bin/dsrlb
}

case $role in
lb)
    install_dsrlb
    cp /vagrant/wheels/dsrlb.service /etc/systemd/system/
    # In lb.sh's hands, not the system's: keepalived or that script starts it.
    systemctl --quiet disable keepalived
    # turn.sh starts it again and again, until the other balancer has stopped.
    mkdir -p /etc/systemd/system/dsrlb.service.d
    printf '[Unit]\nStartLimitIntervalSec=0\n' >/etc/systemd/system/dsrlb.service.d/turn.conf
    systemctl daemon-reload
    ;;
backend)
    install_dsrlb
    say "a page that says who answered, and whom"
    head -c 20000000 /dev/urandom >/var/www/html/20m
    rm -f /etc/nginx/sites-enabled/default
    cat >/etc/nginx/sites-enabled/lab <<'END'
server {
    listen 80 default_server;
    listen [::]:80 default_server;
    root /var/www/html;
    default_type text/plain;
    add_header X-Server $hostname always;
    location = / { return 200 "$hostname $remote_addr\n"; }
}
END
    ;;
esac

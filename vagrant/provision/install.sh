#!/bin/sh
# Once, on each machine: packages, and dsrlb from the wheel where the role has it.  install.sh ROLE
set -eu

say() { printf '==> %s\n' "$*"; }

role=$1
export DEBIAN_FRONTEND=noninteractive
case $role in
client) packages='curl tcpdump iputils-ping iputils-tracepath' ;;
router) packages='tcpdump' ;;
lb) packages='python3-venv tcpdump' ;;
backend) packages='python3-venv tcpdump nginx-light kmod' ;;
*) echo "install.sh: there is no role $role: client, router, lb or backend" >&2; exit 2 ;;
esac
say "installing $packages"
apt-get update -q
# shellcheck disable=SC2086  # a list of words
apt-get install -qy --no-install-recommends $packages

case $role in
lb | backend)
    say "installing dsrlb from the wheel into /opt/dsrlb"
    python3 -m venv /opt/dsrlb
    /opt/dsrlb/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps /vagrant/wheels/dsrlb-*.whl
    /opt/dsrlb/bin/pip install --quiet --disable-pip-version-check /vagrant/wheels/dsrlb-*.whl
    ln -sf /opt/dsrlb/bin/dsrlb /usr/local/bin/dsrlb
    ;;
esac

if [ "$role" = backend ]; then
    say "a page that says who answered"
    hostname >/var/www/html/index.html
    head -c 20000000 /dev/urandom >/var/www/html/20m
    systemctl enable --now nginx
fi

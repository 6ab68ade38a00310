# Inside of that copy of the system.
failed=0
check() {
    what=$1
    shift
    if "$@" >/tmp/said 2>&1; then
        echo "OK    $what"
    else
        echo "FAIL  $what"
        cat /tmp/said /tmp/dpkg
        tail -n 5 /tmp/log
        failed=1
    fi
}
not() { ! "$@"; }
is() { [ "$1" = "$2" ]; }
says() { grep -qF "$1" /tmp/dpkg; }
package() { dpkg --force-depends "$@" >/tmp/dpkg 2>&1 || { cat /tmp/dpkg; return 1; }; }
version() { vrrp-user status --json | sed -n 's/.*"version": *"\([0-9.]*\)".*/\1/p' | head -n 1; }
has_address() { ip -o address show dev eth0 | grep -q ' 10.0.0.100/'; }
has_program() { ip -details link show dev eth0 | grep -q prog/xdp; }
left() { [ -e /sys/fs/bpf/vrrp-user/default ] || [ -e /run/vrrp-user ] || has_address || has_program; }
until_() {
    for _ in $(seq 100); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    return 1
}
is_master() { vrrp-user status | grep -q MASTER; }
start() {
    cp /tmp/vrrp.toml /etc/vrrp-user/vrrp.toml
    setpriv --bounding-set=-all,+net_admin,+net_raw,+bpf vrrp-user run --config /etc/vrrp-user/vrrp.toml >>/tmp/log 2>&1 &
    pid=$!
    check "a daemon is master" until_ is_master
    check "it has the address" until_ has_address
    check "its program is there" has_program
}
killed() {
    kill -KILL $pid
    wait $pid || true
    check "what a killed daemon had is there" has_address
    check "its program is, too" has_program
    check "and what it has pinned" [ -e /sys/fs/bpf/vrrp-user/default ]
}
# What is called is written down; one unit runs.
systemd() {
    mkdir -p /run/systemd/system
    printf '#!/bin/sh\necho "$*" >>/tmp/systemctl\ncase $1 in list-units) echo "vrrp-user.service loaded active running x" ;; esac\n' >/usr/bin/systemctl
    chmod 755 /usr/bin/systemctl
    rm -f /usr/sbin/policy-rc.d
}
goes_on() { is "$(vrrp-user status --json | sed -n 's/^ *"pid": *\([0-9]*\).*/\1/p' | head -n 1)" $pid; }

cat >/tmp/vrrp.toml <<C
[[router]]
name = "VI_1"
interface = "eth0"
vrid = 51
version = 3
interval = "100ms"
priority = 100
addresses = ["10.0.0.100/24"]
C
dpkg --purge vrrp-user >/dev/null 2>&1 || true
mkdir -p /run/vrrp-user

echo "-- without systemd"
check "it is installed" package --install /tmp/one.deb
start
first=$(version)
check "another version is installed" package --install /tmp/two.deb
check "the daemon goes on" goes_on
check "and is the old program" is "$(version)" "$first"
killed
check "it is removed" package --remove vrrp-user
check "cleanup is called" says "removed"
check "nothing is left" not left
check "the configuration is" [ -e /etc/vrrp-user/vrrp.toml ]
check "it is purged" package --purge vrrp-user
check "the configuration is gone" not [ -e /etc/vrrp-user ]

echo "-- with systemd"
systemd
mkdir -p /run/vrrp-user
check "it is installed" package --install /tmp/one.deb
start
check "another version is installed" package --install /tmp/two.deb
check "the new program has taken over" is "$(version)" 9.9.9
check "it is the same process" goes_on
check "nothing was restarted" not grep -q restart /tmp/systemctl
check "one is installed that needs more rights" package --install /tmp/three.deb
check "a restart is announced" says "vrrp-user: vrrp-user.service is restarted, which hands its routers over"
check "and asked for" grep -q '^try-restart .*vrrp-user.service' /tmp/systemctl
check "one is installed that does not start" package --install /tmp/four.deb
check "the old one goes on, and that is said" says "vrrp-user: vrrp-user.service goes on with the old program"
check "the second version is installed again" package --install /tmp/two.deb
check "it is the same process still" goes_on
killed
check "it is removed" package --remove vrrp-user
check "units are stopped first" grep -q '^stop .*vrrp-user.service' /tmp/systemctl
check "nothing is left" not left

echo "-- RPM's scripts"
mkdir -p /run/vrrp-user
check "the program is there" package --install /tmp/one.deb
start
package --unpack /tmp/two.deb
rm -f /tmp/systemctl
check "after an upgrade" sh /tmp/rpm-postun 1
check "the new program has taken over" is "$(version)" 9.9.9
check "it is the same process" goes_on
package --unpack /tmp/three.deb
check "after one that needs more rights" sh /tmp/rpm-postun 1
check "a restart is asked for" grep -q '^try-restart vrrp-user.service' /tmp/systemctl
killed
check "before it is removed" sh /tmp/rpm-preun 0
check "the address is gone" not has_address
check "the program is gone" not has_program
check "afterwards" sh /tmp/rpm-postun 0
check "nothing is left" not left
exit $failed

# Beside a systemd that runs: a package that is installed, upgraded and removed while its unit is master. What happens outside
# meanwhile is seen there.
failed=0
check() {
    what=$1
    shift
    if "$@" >/tmp/said 2>&1; then
        echo "OK    $what"
    else
        echo "FAIL  $what"
        cat /tmp/said /tmp/dpkg
        systemctl status --no-pager --lines 0 vrrp-user.service
        tail -n 30 /tmp/log
        failed=1
        exit 1
    fi
}
not() { ! "$@"; }
is() { [ "$1" = "$2" ]; }
package() { dpkg --force-depends "$@" >/tmp/dpkg 2>&1 || { cat /tmp/dpkg; return 1; }; }
until_() {
    for _ in $(seq 200); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    return 1
}
main_pid() { systemctl show --property MainPID --value vrrp-user.service; }
is_master() { vrrp-user status | grep -q MASTER; }
version() { vrrp-user status --json | sed -n 's/.*"version": *"\([0-9.]*\)".*/\1/p' | head -n 1; }
has_address() { ip -o address show dev eth0 | grep -q ' 10.0.0.100/'; }
has_program() { ip -details link show dev eth0 | grep -q prog/xdp; }
left() { [ -e /sys/fs/bpf/vrrp-user ] || [ -e /run/vrrp-user ] || has_address || has_program; }
is_another() { [ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ]; }
# Somebody outside looks.
outside() {
    : >"/packages/$1"
    check "outside: $1" until_ [ -e "/packages/$1-seen" ]
}

mkdir -p /etc/systemd/system/vrrp-user.service.d
printf '[Service]\nStandardError=append:/tmp/log\n' >/etc/systemd/system/vrrp-user.service.d/log.conf
dpkg --purge vrrp-user >/dev/null 2>&1 || true
check "it is installed" package --install /packages/one.deb
check "a first installation starts nothing" not systemctl is-active vrrp-user.service
cat /packages/vrrp.toml >/etc/vrrp-user/vrrp.toml
check "the unit starts" systemctl start vrrp-user.service
check "it is master" until_ is_master
check "it has the address" until_ has_address
outside started

pid=$(main_pid)
check "it is killed" systemctl kill --kill-whom main --signal KILL vrrp-user.service
check "systemd starts it again" until_ is_another "$pid"
check "it is master" until_ is_master
check "it was adopted" grep -q "INIT -> MASTER: adopted" /tmp/log
outside killed

pid=$(main_pid)
check "another version is installed" package --install /packages/two.deb
check "the new program has taken over" is "$(version)" 9.9.9
check "it is the same process" is "$(main_pid)" "$pid"
check "the unit is active" systemctl is-active vrrp-user.service
check "it is master" is_master
outside upgraded

check "it is removed" package --remove vrrp-user
check "the unit is not active" not systemctl is-active vrrp-user.service
check "its process is gone" not [ -e "/proc/$pid" ]
check "nothing is left" not left
outside removed
echo "DONE"

# For the tests in a guest, which source it: hosts on a switch, each a network namespace, and the daemons on them.
# Nothing here depends on how quick the guest is: everything is waited for, with a generous limit.

# root, or unit: with what the daemons run.
RIGHTS=${RIGHTS:-unit}
failed=0
ok() { echo "OK    $RIGHTS: $*"; }
bad() {
    echo "FAIL  $RIGHTS: $*"
    failed=1
}
# check NAME COMMAND...: nothing that comes after a failure tells anything.
check() {
    name=$1
    shift
    if "$@"; then
        ok "$name"
    else
        bad "$name"
        exit 1
    fi
}
# in_ HOST COMMAND...
in_() {
    netns=$1
    shift
    nsenter --net="/run/netns/$netns" "$@"
}

switch() {
    ip netns add sw
    ip -n sw link add br0 type bridge mcast_snooping 0
    ip -n sw link set br0 up
}
# port HOST [INTERFACE]: a cable from the host to the switch.
port() {
    ip link add "p-$1-${2:-eth0}" netns sw type veth peer name "${2:-eth0}" netns "$1"
    ip -n sw link set "p-$1-${2:-eth0}" master br0 up
    ip -n "$1" link set "${2:-eth0}" up
}
# host NAME ADDRESS
host() {
    ip netns add "$1"
    ip -n "$1" link set lo up
    port "$1"
    ip -n "$1" addr add "$2/24" dev eth0
}

# conf PRIORITY [INTERFACE [MORE]]: a configuration with one virtual router.
conf() {
    printf '[[router]]\nname = "VI_1"\ninterface = "%s"\nvrid = 51\npriority = %s\naddresses = ["10.0.0.100/24"]\n%s\n' \
        "${2:-eth0}" "$1" "${3-}"
}
caps=-all,+net_admin,+net_raw,+bpf
unit="setpriv --reuid vrrp-user --regid vrrp-user --clear-groups --inh-caps=$caps --ambient-caps=$caps --bounding-set=$caps --no-new-privs env VRRP_USER_BPFFS=/run/vrrp-user/bpf"
# rights COMMAND...: as the unit runs it, or as root.
rights() {
    if [ "$RIGHTS" = unit ]; then $unit "$@"; else "$@"; fi
}
# directories INSTANCE: what the unit makes before it starts the daemon.
directories() {
    [ "$RIGHTS" = unit ] || return 0
    mkdir -p /run/vrrp-user/bpf/vrrp-user /sys/fs/bpf/vrrp-user "/run/vrrp-user/$1"
    chown vrrp-user:vrrp-user /sys/fs/bpf/vrrp-user "/run/vrrp-user/$1"
    grep -q /run/vrrp-user/bpf/vrrp-user /proc/mounts ||
        mount --bind /sys/fs/bpf/vrrp-user /run/vrrp-user/bpf/vrrp-user
}
# start HOST CONFIGURATION: the instance is called like the host; its log is /tmp/HOST.log.
start() {
    directories "$1"
    (
        # LimitRTPRIO and LimitMEMLOCK of the unit.
        ulimit -r 99
        ulimit -l unlimited
        exec nsenter --net="/run/netns/$1" $([ "$RIGHTS" = unit ] && echo "$unit") \
            vrrp-user run --config "$2" --instance "$1" >>"/tmp/$1.log" 2>&1
    ) &
    echo $! >"/tmp/$1.pid"
}
# stop HOST [SIGNAL]
stop() {
    kill "-${2:-TERM}" "$(cat "/tmp/$1.pid")"
    wait "$(cat "/tmp/$1.pid")"
}
# count HOST STATE: how many routers are in a state.
count() {
    vrrp-user status --instance "$1" 2>/dev/null |
        awk -v s="$2" '$5 == s && $4 ~ /^v[23]$/ {n++} END {print n + 0}'
}
# await HOST STATE: until the router is in it, at most 180 s.
await() {
    for _ in $(seq 900); do
        [ "$(count "$1" "$2")" -ge 1 ] && return 0
        kill -0 "$(cat "/tmp/$1.pid")" || return 1
        sleep 0.2
    done
    echo "$1 is not $2:"
    vrrp-user status --instance "$1"
    tail -n 20 "/tmp/$1.log"
    return 1
}
# has HOST ADDRESS
has() { ip -n "$1" -o addr show | grep -q " $2/"; }
has_not() { ! has "$1" "$2"; }
# reaches HOST ADDRESS: iputils asks again until it is answered.
reaches() { in_ "$1" ping -c 1 -w 30 -q "$2" >/dev/null; }
# sends HOST: whether packets from an address were counted.
sends() { vrrp-user stats --instance "$1" --json | grep -q '"tx_packets": *[1-9]'; }

# Do the programs load, as root and with the rights of the unit? If not, the last words of the kernel.
. /lib.sh
case $(uname -r) in
    # There is no bpf_xdp_load_bytes before Linux 5.18.
    5.10.*) load="tc loads" wanted="tc works" ;;
    *) load="the programs load" wanted=fine ;;
esac
# What the verifier did, also with the programs that this kernel does not need.
steps() {
    for without in "" in-place; do
        VRRP_USER_WITHOUT=$without rights vrrp-user doctor --config /dev/null --json 2>/dev/null
    done | grep -o 'vrrp_[a-z_]* [0-9][0-9]*' | sort -u | sed 's/^/STEPS /'
}
for RIGHTS in root unit; do
    directories doctor
    # LimitMEMLOCK of the unit.
    ulimit -l unlimited
    rights vrrp-user doctor --config /dev/null --json >/tmp/doctor.json
    if grep -A2 '"check": "bpf"' /tmp/doctor.json | grep -q "$wanted"; then
        ok "$load"
        [ "$RIGHTS" = root ] || steps
        # What is refused of that costs wake-ups, and nothing else.
        grep -o 'auth_hmac) are checked by the daemon.*' /tmp/doctor.json | sed 's/\\n/ | /g; s/^/NOTE (/' | cut -c 1-1500
    else
        bad "the programs do not load"
        grep -A3 '"check": "bpf"' /tmp/doctor.json | grep text | sed 's/\\n/\n/g' | tail -n 16 | cut -c 1-200
    fi
done
exit $failed

# Do the programs load, as root and with the rights of the unit? If not, the last words of the kernel.
. /lib.sh
for RIGHTS in root unit; do
    directories doctor
    # LimitMEMLOCK of the unit.
    ulimit -l unlimited
    rights vrrp-user doctor --config /dev/null --json >/tmp/doctor.json
    if grep -A1 '"check": "bpf"' /tmp/doctor.json | grep -q fine; then
        ok "the programs load"
        [ "$RIGHTS" = root ] || grep -o 'vrrp_[a-z]* [0-9]*' /tmp/doctor.json | sed 's/^/STEPS /'
    else
        bad "the programs do not load"
        grep -A3 '"check": "bpf"' /tmp/doctor.json | grep text | sed 's/\\n/\n/g' | tail -n 16 | cut -c 1-200
    fi
done
exit $failed

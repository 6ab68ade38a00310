# The tests of the suite for bonds, VLANs, bridges and what else an interface may be: here are the devices that the
# kernel below may lack.
. /lib.sh
export VRRP_USER_BIN=/usr/sbin/vrrp-user
[ "$RIGHTS" = root ] || VRRP_USER_BIN=/usr/sbin/vrrp-user-unit
tests() {
    for binary in /tests/*; do
        "$binary" --list --format terse | sed -n "s|: test\$||p" | grep -e "$TESTS" | sed "s|^|$binary |"
    done
}
# Each is a process of its own: what is left of one that failed is no other's.
each() {
    while read -r binary test; do
        output=/tmp/output-$test
        if timeout 1800 "$binary" --exact "$test" --nocapture >"$output" 2>&1 </dev/null; then
            if grep -q "^SKIP " "$output"; then
                grep "^SKIP " "$output" | sed "s/^SKIP  /SKIP  $RIGHTS: /"
            else
                ok "$test"
            fi
        else
            touch /tmp/failed
            # At once, so that nothing of another one comes between.
            echo "$(bad "$test" && tail -n 60 "$output" | cut -c 1-300)"
        fi
    done
}
# They wait most of the time, so that three run at once. Those that need cards would take them from each other.
tests >/tmp/tests
grep card /tmp/tests | each &
grep -v card /tmp/tests | awk 'NR % 2 == 0' | each &
grep -v card /tmp/tests | awk 'NR % 2 == 1' | each &
wait
[ ! -e /tmp/failed ]
exit

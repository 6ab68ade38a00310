# The tests of the suite for bonds, VLANs, bridges and what else an interface may be: here are the devices that the
# kernel below may lack.
. /lib.sh
export VRRP_USER_BIN=/usr/sbin/vrrp-user
[ "$RIGHTS" = root ] || VRRP_USER_BIN=/usr/sbin/vrrp-user-unit
for binary in /tests/*; do
    for test in $("$binary" --list --format terse | sed -n 's/: test$//p' | grep -e "$TESTS"); do
        # Each by itself: what is left of one that failed is no other's.
        if timeout 900 "$binary" --exact "$test" --nocapture >/tmp/output 2>&1; then
            if grep -q "^SKIP " /tmp/output; then
                grep "^SKIP " /tmp/output | sed "s/^SKIP  /SKIP  $RIGHTS: /"
            else
                ok "$test"
            fi
        else
            bad "$test"
            tail -n 60 /tmp/output | cut -c 1-300
        fi
    done
done
exit $failed

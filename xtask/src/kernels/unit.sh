#!/bin/sh
# vrrp-user for the tests: as the unit runs it, where they run a daemon; else as it is.
. /lib.sh
[ "$1" = run ] || exec vrrp-user "$@"
options="$*"
after() { echo "$options" | sed -n "s/.* --$1 \\([^ ]*\\).*/\\1/p"; }
mkdir -p "/run/vrrp-user/$(after instance)"
chown -R vrrp-user:vrrp-user "$(after bpffs)" "/run/vrrp-user/$(after instance)"
ulimit -r 99
ulimit -l unlimited
exec $unit vrrp-user "$@"

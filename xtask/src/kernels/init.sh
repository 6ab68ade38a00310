#!/bin/sh
# The first process of a guest: sets up what a test needs, runs it, and switches the machine off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mkdir -p /run/netns
mount -t bpf bpf /sys/fs/bpf
for module in $(cat /modules/order); do
    insmod "/modules/$module" || echo "insmod $module: failed"
done
ip link set lo up
echo "GUEST-UP $(uname -r) $(uname -v)"
if [ -e /vrrp-user.deb ]; then
    dpkg -i /vrrp-user.deb >/tmp/dpkg 2>&1 || {
        echo "FAIL  root: the package cannot be installed"
        tail -n 20 /tmp/dpkg
    }
fi
cd /root
sh /test.sh
echo "GUEST-EXIT $?"
poweroff -f

# Boots systemd as the first process of a PID namespace, in the network namespace that this is started in, on a copy of the
# system that is written to memory and where no unit starts by itself. In there `unit.sh` runs. $1: the directory with the
# packages.
set -eu
packages=$1 root=$1/root
# A cgroup of its own: what systemd makes goes with it.
hierarchy=$(sed -n 's/^[^ ]* \([^ ]*\) cgroup2 .*/\1/p' /proc/mounts | head -n 1)
if [ -n "$hierarchy" ] && [ "${2-}" != inside ]; then
    group=$hierarchy/vrrp-lab-$$
    mkdir "$group"
    code=0
    sh -c 'echo $$ >"$1/cgroup.procs" && exec unshare --mount --pid --fork --kill-child --cgroup --ipc --uts sh "$2" "$3" inside' \
        sh "$group" "$0" "$packages" || code=$?
    for _ in $(seq 50); do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
        sleep 0.1
    done
    exit $code
fi
[ -n "$hierarchy" ] || { echo "SKIP  there are no cgroups of the second version"; exit 0; }

mkdir -p "$root"
mount -t tmpfs none "$root"
mkdir "$root/upper" "$root/work" "$root/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/root"
root=$root/root
rm -rf "$root"/etc/systemd/system/* "$root"/usr/lib/systemd/system/*.wants "$root"/etc/machine-id "$root"/usr/sbin/policy-rc.d
mount -t proc proc "$root/proc"
# What concerns the whole machine is not for this one.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs sys "$root/sys"
mount -t cgroup2 cgroup "$root/sys/fs/cgroup"
mount -t bpf bpf "$root/sys/fs/bpf"
for directory in dev run tmp; do mount -t tmpfs none "$root/$directory"; done
# What PrivateDevices= of a unit has, too.
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
mount -t devpts devpts "$root/dev/pts"
ln -s /proc/self/fd "$root/dev/fd"
ln -s pts/ptmx "$root/dev/ptmx"
mkdir "$root/packages"
mount --bind "$packages" "$root/packages"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
cat >"$root/etc/systemd/system/lab.service" <<U
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/sh /packages/unit.sh
StandardOutput=append:/packages/said
StandardError=append:/packages/said
ExecStopPost=systemctl exit
U
exec chroot "$root" env -i container=lab PATH="$PATH" /lib/systemd/systemd --system --unit=lab.service --log-target=null --show-status=false

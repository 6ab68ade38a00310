# Installs, upgrades and removes packages with the scripts of dist/, in the mount and network namespaces that it is started in, on
# a copy of the system that is written to memory. $1: the directory with the packages.
set -eu
packages=$1 root=$1/root
mkdir -p "$root"
mount -t tmpfs none "$root"
mkdir "$root/upper" "$root/work" "$root/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/root"
root=$root/root
for directory in proc dev sys; do mount --rbind /$directory "$root/$directory"; done
for directory in run tmp sys/fs/bpf; do
    type=tmpfs
    [ $directory = run ] || [ $directory = tmp ] || type=bpf
    mount -t $type none "$root/$directory"
done
cp "$packages"/*.deb "$packages"/rpm-* "$root/tmp"
exec chroot "$root" sh -eu -c "$(cat "$packages/inside.sh")"

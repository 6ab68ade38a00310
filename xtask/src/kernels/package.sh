# The Debian package, which init.sh has installed: what it brings, and what stays when it is removed.
RIGHTS=root
. /lib.sh
status() { dpkg-query -W -f '${Status}' vrrp-user; }
is() { [ "$1" = "$2" ]; }
quiet() { "$@" >/tmp/quiet 2>&1; }
is_not() { [ ! -e "$1" ]; }
owner() { stat -c '%a %U:%G' "$1"; }
check "the package is installed" is "$(status)" "install ok installed"
check "it makes the user" grep -q '^vrrp-user:' /etc/passwd
check "it makes the group" grep -q '^vrrp-user:' /etc/group
check "only the daemon reads the configuration" is "$(owner /etc/vrrp-user/vrrp.toml)" "640 root:vrrp-user"
check "only the daemon reads its directory" is "$(owner /etc/vrrp-user)" "750 root:vrrp-user"
check "the program runs" quiet vrrp-user --version
check "the daemon may read it" quiet \
    setpriv --reuid vrrp-user --regid vrrp-user --clear-groups cat /etc/vrrp-user/vrrp.toml
check "it takes the example" quiet vrrp-user check /usr/share/doc/vrrp-user/examples/vrrp.toml*
for file in lib/systemd/system/vrrp-user.service share/man/man8/vrrp-user.8.gz share/doc/vrrp-user/service.md; do
    check "there is $file" quiet ls -L "/usr/$file"*
done
check "it can be removed" quiet dpkg --remove vrrp-user
check "the program is gone" is_not /usr/sbin/vrrp-user
check "the configuration stays" quiet ls /etc/vrrp-user/vrrp.toml
check "it can be purged" quiet dpkg --purge vrrp-user
check "the configuration is gone" is_not /etc/vrrp-user
check "the user stays" grep -q '^vrrp-user:' /etc/passwd
exit $failed

# A master whose machine is paused and goes on. What is to be seen of it is seen outside, where the other routers are
# (paused.rs); from there somebody calls when that is done.
. /lib.sh
ip netns add a
ip link set eth0 netns a
ip -n a link set lo up
ip -n a link set eth0 up
ip -n a addr add 10.0.0.1/24 dev eth0
conf 100 eth0 'version = 3
preempt = false' >/tmp/a.toml
start a /tmp/a.toml
check "a master" await a MASTER
told=$(in_ a nc -l -p 7)
[ "$told" = done ] || tail -n 60 /tmp/a.log
check "everything was seen outside" [ "$told" = done ]
check "it is a master in the end" await a MASTER
stop a
check "nothing stays behind" has_not a 10.0.0.100
exit $failed

# Two hosts with VRRPv2 and a password, in the rights of the unit: the master is lost, comes back, and hands over.
. /lib.sh
switch
host a 10.0.0.1
host b 10.0.0.2
host client 10.0.0.9
v2='version = 2
authentication = { type = "pass", password = "s3cret" }'
conf 200 eth0 "$v2" >/tmp/a.toml
conf 100 eth0 "$v2" >/tmp/b.toml
vip=10.0.0.100
start a /tmp/a.toml
check "a master" await a MASTER
start b /tmp/b.toml
check "a backup" await b BACKUP
sleep 5
check "the backup hears the master" await b BACKUP
check "the master has the address" has a $vip
check "the backup has it not" has_not b $vip
check "the address answers" reaches client $vip
check "what it sends is counted" sends a
stop a KILL
check "a takeover" await b MASTER
check "the new master has the address" has b $vip
start a /tmp/a.toml
check "the old master is back" await a MASTER
check "the other one gives way" await b BACKUP
check "the old master has the address" has a $vip
check "the other one has it not" has_not b $vip
check "the address answers again" reaches client $vip
stop a
check "handed over at the end" await b MASTER
check "the last one has the address" has b $vip
check "nothing stays behind" has_not a $vip
stop b
exit $failed

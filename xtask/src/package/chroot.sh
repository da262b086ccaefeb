#!/bin/sh
# Runs what lies below $1 as a container would: its own network, a root that cannot be written to, and the capabilities
# that packaging/container/Containerfile names. (CAP_SYS_CHROOT is chroot's own.) Started in namespaces of its own.
set -eu
root=$1
say() { echo "chroot: $*"; }
must() { "$@" || { say "does not hold: $*"; cat "$root"/run/netflow/log >&2 || true; exit 1; }; }
capabilities=-all,+sys_chroot,+bpf,+perfmon,+net_admin,+sys_nice
become() {
    bounds=$1 && shift
    exec setpriv --bounding-set="$bounds" --inh-caps=-all --no-new-privs chroot "$root" /usr/bin/netflow "$@"
}
never() { ! "$@" 2>/dev/null || { say "must not hold: $*"; exit 1; }; }
confined() { (become "$capabilities" "$@"); }

say "alone: without /proc, /sys and /dev"
must chroot "$root" /usr/bin/netflow --version
must chroot "$root" /usr/bin/netflow config check /etc/netflow/netflow.toml

mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o nosuid tmpfs "$root/dev"
for device in null zero urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t tmpfs -o nosuid,nodev tmpfs "$root/run/netflow"
mount -o remount,bind,ro "$root"

ip link set lo up
ip link add near type veth peer name far
unshare --net sleep 100 &
other=$!
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
# It has its namespace when it is another one than this.
until [ "$(readlink "/proc/$other/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
ip link set far netns "$other"
there() { nsenter --net="/proc/$other/ns/net" "$@"; }
ip link set near up
ip address add 10.77.0.2/24 dev near
there ip link set far up
there ip address add 10.77.0.1/24 dev far

for needed in bpf perfmon net_admin; do
    say "says that it cannot meter without CAP_$needed"
    become "${capabilities%",+$needed"*}${capabilities#*",+$needed"}" run --interface near >"$root/run/netflow/log" 2>&1 &
    agent=$!
    for _ in $(seq 100); do
        kill -0 "$agent" 2>/dev/null || break
        sleep 0.1
    done
    never kill -0 "$agent"
    never wait "$agent"
    must grep -q "^netflow: " "$root/run/netflow/log"
done

say "meters and exports, with the four capabilities and a root that is read only"
become "$capabilities" collect --listen udp://127.0.0.1:4739 --format json >"$root/run/netflow/flows" 2>"$root/run/netflow/collector" &
collector=$!
become "$capabilities" run --interface near -c udp://127.0.0.1:4739 2>"$root/run/netflow/log" &
agent=$!
for _ in $(seq 100); do
    [ -S "$root/run/netflow/control.sock" ] && break
    sleep 0.1
done
must there ping -c 20 -i 0.02 -q 10.77.0.2
must confined expire
for _ in $(seq 100); do
    grep -q '"sourceIPv4Address":"10.77.0.1"' "$root/run/netflow/flows" && break
    sleep 0.1
done
must grep -q '"sourceIPv4Address":"10.77.0.1"' "$root/run/netflow/flows"
confined show ledger >"$root/run/netflow/ledger"
must grep -q "balanced at every one of" "$root/run/netflow/ledger"
must confined doctor --interface near
say "ends in order"
kill -TERM "$agent" "$collector"
must wait "$agent"
must wait "$collector"
say "passed"

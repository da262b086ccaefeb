#!/bin/sh
# What has to hold of the Debian package, in a clean system that systemd has booted: /check has three versions of it.
# Says each step; the last line is "check: passed" or "check: failed".
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
configuration=/etc/netflow/netflow.toml
# CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN.
privileges=$((1 << 39 | 1 << 38 | 1 << 12))

step() { echo "check: $*"; }
ended() {
    [ "$1" = 0 ] && echo "check: passed" && return
    systemctl --no-pager --full status netflow.service 'netflow@*.service' || true
    journalctl --no-pager --lines 40 || true
    echo "check: failed"
}
trap 'ended $?' EXIT
must() { "$@" || { echo "check: does not hold: $*"; exit 1; }; }
never() { ! "$@" || { echo "check: must not hold: $*"; exit 1; }; }
property() { systemctl show --property "$2" --value "$1"; }
install() { dpkg --install "$@" "/check/$version.deb"; }
pings() { ip netns exec far ping -c 20 -i 0.02 -q 10.77.0.2; }
metered() { ip -details link show near | grep -q prog/xdp; }
is_active() { systemctl --quiet is-active "$1"; }
is_enabled() { systemctl --quiet is-enabled "$1"; }

step "network: a pair of interfaces, the default route by one of them"
ip netns add far
ip link add near type veth peer name far0 netns far
ip link set lo up
ip link set near up
ip address add 10.77.0.2/24 dev near
ip -n far link set far0 up
ip -n far address add 10.77.0.1/24 dev far0
ip route add default via 10.77.0.1 dev near

step "installs, and the service starts, enabled, with the configuration of the package"
version=1 && install
must is_active netflow.service
must is_enabled netflow.service
must metered
must [ "$(stat -c '%U:%G %a' /etc/netflow)" = "root:netflow 750" ]
must [ "$(stat -c '%U:%G' /run/netflow)" = netflow:netflow ]
must [ "$(stat -c '%U:%G' /var/lib/netflow)" = netflow:netflow ]
must netflow config check "$configuration"

step "runs as netflow, with nothing beyond CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
for process in /proc/[0-9]*; do
    case $(cat "$process/comm") in netflow*) ;; *) continue ;; esac
    must grep -q "^Uid:[[:space:]]*$(id -u netflow)[[:space:]]" "$process/status"
    for set in CapPrm CapBnd CapAmb; do
        has=$(sed -n "s/^$set:[[:space:]]*//p" "$process/status")
        must [ $((0x$has & ~privileges)) = 0 ]
    done
done

step "meters, and exports to the collector that the package's configuration names"
netflow collect --listen udp://127.0.0.1:4739 --format json >/tmp/flows 2>/tmp/collector &
collector=$!
sleep 1
netflow send-templates
pings
netflow expire
for _ in 1 2 3 4 5 6 7 8 9 10; do
    grep -q '"sourceIPv4Address":"10.77.0.1"' /tmp/flows && break
    sleep 1
done
kill "$collector" && wait "$collector"
must grep -q '"sourceIPv4Address":"10.77.0.1"' /tmp/flows
netflow show ledger | tee /tmp/ledger
must grep -q "balanced at every one of" /tmp/ledger

step "upgrades, and a configuration that nobody has changed is the new one"
before=$(property netflow.service MainPID)
version=2 && install
must is_active netflow.service
must [ "$(property netflow.service MainPID)" != "$before" ]
must grep -q "of version 2" "$configuration"

step "reloads, and keeps running with the old configuration when the new one is wrong"
before=$(property netflow.service MainPID)
echo 'idle-timeout = "3s"' | cat - "$configuration" >/tmp/new && cat /tmp/new >"$configuration"
must systemctl reload netflow.service
cp "$configuration" /tmp/right
echo 'no-such-option = true' | cat - /tmp/right >"$configuration"
never systemctl reload netflow.service
must is_active netflow.service
cat /tmp/right >"$configuration"
must systemctl reload netflow.service
must [ "$(property netflow.service MainPID)" = "$before" ]

step "an instance has a configuration, a socket and a state directory of its own"
printf '%s\n' 'interface = ["lo"]' 'xdp-mode = "generic"' 'metrics = "off"' 'observation-domain = 2' \
    '[[collector]]' 'url = "udp://127.0.0.1:4740"' >/etc/netflow/loopback.toml
must systemctl start netflow@loopback.service
must is_active netflow@loopback.service
must netflow show ledger --control-socket /run/netflow-loopback/control.sock
must [ "$(stat -c '%U:%G' /var/lib/netflow/loopback)" = netflow:netflow ]
must systemctl reload netflow@loopback.service

step "upgrades, and a configuration that has been changed stays; instances start anew"
before=$(property netflow@loopback.service MainPID)
version=3 && install --force-confold
must is_active netflow.service
must is_active netflow@loopback.service
must [ "$(property netflow@loopback.service MainPID)" != "$before" ]
must grep -q '^idle-timeout = "3s"' "$configuration"
must grep -q "of version 3" "$configuration.dpkg-dist"

step "configures twice like once; what an administrator has stopped and disabled stays so"
must /var/lib/dpkg/info/netflow.postinst configure 3
must /var/lib/dpkg/info/netflow.postinst configure 3
must is_active netflow.service
must is_enabled netflow.service
systemctl disable --now netflow.service
must [ "$(property netflow.service Result)" = success ]
never metered
install --force-confold
never is_active netflow.service
never is_enabled netflow.service
systemctl enable --now netflow.service
must is_active netflow.service

step "is removed, and configuration and state stay"
dpkg --remove netflow
never is_active netflow.service
never is_active netflow@loopback.service
never metered
never [ -e /usr/bin/netflow ]
never [ -e /run/netflow ]
must [ -e "$configuration" ]
must [ -e /var/lib/netflow ]
version=3 && install --force-confold
must is_active netflow.service
must grep -q '^idle-timeout = "3s"' "$configuration"

step "is purged, and leaves nothing but the account and what the administrator wrote"
must dpkg --purge netflow
never is_active netflow.service
find /etc /usr /var /run /lib /opt /srv -xdev -iname '*netflow*' | tee /tmp/left
must [ "$(cat /tmp/left)" = /etc/netflow ]
must [ "$(ls /etc/netflow)" = loopback.toml ]
must getent passwd netflow
never systemctl --quiet is-failed netflow.service

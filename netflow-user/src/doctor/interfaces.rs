//! The interfaces that would be metered: driver, hooks, queues, offloads that hide or merge packets, others' programs.

use std::{fs, path::Path};

use super::{finding::Finding, offloads};
use crate::{
    agent::chain,
    config::RunConfig,
    interface::{Change, Follower, Interface, InterfaceDetails, Interfaces, ReceiveDrops},
    kernel::{self, XdpMode},
};

/// What was found of an interface.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) details: InterfaceDetails,
    /// The driver of a physical one, where /sys shows this namespace.
    pub(super) driver: Option<String>,
    /// Whether the driver says that it has native XDP, and for frames of several buffers; `None` where it does not
    /// say.
    pub(super) native_xdp: Option<(bool, bool)>,
    /// The offloads that are on, by the kernel's names; why they are not known otherwise.
    pub(super) offloads: Result<Vec<String>, String>,
    /// What it dropped so far.
    pub(super) drops: Option<ReceiveDrops>,
    /// Names of the XDP programs there, where they may be asked for.
    pub(super) programs: Vec<String>,
    /// Names of TC programs that are linked there (received, sent); `None` where they cannot be asked for.
    pub(super) tc_programs: Option<Vec<String>>,
    /// CPUs that are online.
    pub(super) cpus: u32,
    /// The mode that was asked for.
    pub(super) mode: XdpMode,
}

/// Frames up to this size are in one buffer, whatever the driver (a page, less headroom and what the stack needs).
const ONE_BUFFER: u32 = 3498;

/// Looks at each interface that would be metered.
pub(super) async fn look(config: &RunConfig, cpus: u32) -> Vec<Finding> {
    let mut findings = Vec::new();
    let known = match Interfaces::open() {
        Ok(known) => known,
        Err(error) => return vec![Finding::unknown("interfaces", chain(&error))],
    };
    let selection = if config.interfaces.is_empty() {
        match known.of_default_route().await {
            Ok(found) => config.interfaces.clone().with(&found.name),
            Err(error) => return vec![Finding::fault("interfaces", chain(&error)).with("ip link")],
        }
    } else {
        config.interfaces.clone()
    };
    for name in selection.names() {
        if let Err(error) = known.find(name).await {
            findings.push(Finding::fault(name.as_str(), chain(&error)).with("ip link"));
        }
    }
    let begin = match Follower::open(selection.clone()).await {
        Ok((_, begin)) => begin,
        Err(error) => {
            findings.push(Finding::unknown("interfaces", chain(&error)));
            return findings;
        }
    };
    let chosen = begin.into_iter().filter_map(|change| match change {
        Change::Attach { interface, .. } if interface.is_readable() => Some(interface),
        _ => None,
    });
    let mut met = 0;
    for interface in chosen {
        met += 1;
        match facts(&known, &interface, config, cpus).await {
            Ok(Some(facts)) => findings.extend(judge(&facts)),
            Ok(None) => findings.push(Finding::unknown(interface.name, "it has gone meanwhile")),
            Err(error) => findings.push(Finding::unknown(interface.name, chain(&error))),
        }
    }
    if met == 0 {
        findings.push(
            Finding::warning("interfaces", format!("nothing is there to meter: waiting for {selection}"))
                .with("ip link"),
        );
    }
    findings
}

async fn facts(
    known: &Interfaces,
    interface: &Interface,
    config: &RunConfig,
    cpus: u32,
) -> Result<Option<Facts>, crate::interface::InterfaceError> {
    let Some(details) = known.details(interface.index).await? else { return Ok(None) };
    let drops = known.receive_drops(interface.index).await?;
    let name = |id: &u32| kernel::program_name(*id).unwrap_or_else(|| format!("program {id}"));
    Ok(Some(Facts {
        driver: driver(interface),
        native_xdp: offloads::native_xdp(interface.index).await,
        offloads: offloads::active(&interface.name).await,
        drops,
        programs: details.programs.iter().map(name).collect(),
        tc_programs: kernel::tcx_programs(&interface.name).ok(),
        details,
        cpus,
        mode: config.xdp_mode,
    }))
}

/// The driver's name, from /sys, where that shows the same interface: in another network namespace it may not.
fn driver(interface: &Interface) -> Option<String> {
    let device = Path::new("/sys/class/net").join(&interface.name);
    let index = fs::read_to_string(device.join("ifindex")).ok()?;
    if index.trim().parse() != Ok(interface.index) {
        return None;
    }
    let driver = fs::read_link(device.join("device/driver")).ok()?;
    Some(driver.file_name()?.to_string_lossy().into_owned())
}

/// Judges one.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let name = facts.details.interface.name.as_str();
    let mut findings = vec![device(facts), hook(facts)];
    findings.extend(mtu(facts));
    match &facts.offloads {
        Err(why) => findings.push(Finding::unknown(name, format!("offloads: {why}"))),
        Ok(on) => {
            let before = findings.len();
            findings.extend(on.iter().filter_map(|offload| amiss(facts, offload)));
            if findings.len() == before {
                findings
                    .push(Finding::ok(name, "no offload hides or merges packets before they are metered"));
            }
        }
    }
    let (own, others): (Vec<&String>, Vec<&String>) =
        facts.programs.iter().chain(facts.tc_programs.iter().flatten()).partition(|name| is_own(name));
    if !own.is_empty() {
        findings.push(Finding::ok(name, "an agent of this kind meters it already"));
    }
    if !others.is_empty() {
        let programs = others.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        findings.push(
            Finding::warning(
                name,
                format!("other programs are attached: {programs}; where one has native XDP, the meter takes TC, and TC programs come behind the meter"),
            )
            .with("bpftool net"),
        );
    }
    findings.extend(drops(facts));
    findings
}

/// Programs of an agent; the kernel keeps 15 octets of a name.
fn is_own(name: &str) -> bool {
    name.starts_with("netflow_")
}

fn device(facts: &Facts) -> Finding {
    let InterfaceDetails { interface, kind, promiscuous, receive_queues, .. } = &facts.details;
    let what = match (&facts.driver, kind) {
        (Some(driver), _) => format!("driver {driver}"),
        (None, Some(kind)) => format!("a virtual device ({kind})"),
        (None, None) if interface.loopback => "the loopback device".to_owned(),
        (None, None) => "a device whose driver is not known".to_owned(),
    };
    let queues = match receive_queues {
        1 => "1 receive queue".to_owned(),
        number => format!("up to {number} receive queues"),
    };
    let frames = if *promiscuous > 0 { ", promiscuous" } else { "" };
    let text = format!("{what}, {queues} for {} CPUs, MTU {}{frames}", facts.cpus, interface.mtu);
    if interface.up {
        Finding::ok(interface.name.as_str(), text)
    } else {
        Finding::warning(interface.name.as_str(), format!("{text}; it is down"))
            .with(format!("ip link set {} up", interface.name))
    }
}

/// Where received packets would be metered.
fn hook(facts: &Facts) -> Finding {
    let name = facts.details.interface.name.as_str();
    if !facts.details.interface.ethernet {
        return match facts.mode {
            XdpMode::Native | XdpMode::Generic => {
                Finding::fault(name, "its packets have no Ethernet header, which XDP needs")
                    .with("netflow run --xdp-mode auto ...")
            }
            _ => Finding::ok(name, "its packets have no Ethernet header: metered by TC"),
        };
    }
    match (facts.native_xdp, facts.mode) {
        (_, XdpMode::Tc) => Finding::ok(name, "metered by TC, as asked for"),
        (_, XdpMode::Generic) => {
            Finding::warning(name, "generic XDP, as asked for, counts merged packets as one")
                .with("netflow run --xdp-mode auto ...")
        }
        (Some((true, _)), _) => Finding::ok(name, "its driver has native XDP"),
        (Some((false, _)), XdpMode::Native) => {
            Finding::fault(name, "its driver has no native XDP, which --xdp-mode native asks for")
                .with("netflow run --xdp-mode auto ...")
        }
        (Some((false, _)), XdpMode::Auto) => {
            Finding::ok(name, "its driver has no native XDP: metered by TC, which costs more for each packet")
        }
        (None, _) => Finding::unknown(
            name,
            "the kernel does not tell whether its driver has native XDP (needs 6.3): the agent tries",
        ),
    }
}

fn mtu(facts: &Facts) -> Option<Finding> {
    let Interface { name, mtu, ethernet, .. } = &facts.details.interface;
    let is_native = *ethernet && matches!(facts.mode, XdpMode::Auto | XdpMode::Native);
    match facts.native_xdp {
        Some((true, false)) if is_native && *mtu > ONE_BUFFER => Some(
            Finding::warning(
                name.as_str(),
                format!(
                    "MTU {mtu}, but its driver's native XDP takes frames of one buffer only: metered by TC"
                ),
            )
            .with(format!("ip link set {name} mtu {ONE_BUFFER}")),
        ),
        _ => None,
    }
}

/// What an offload that is on does to the meter.
fn amiss(facts: &Facts, offload: &str) -> Option<Finding> {
    let name = facts.details.interface.name.as_str();
    let off = |feature: &str| format!("ethtool -K {name} {feature} off");
    let is_physical = facts.driver.is_some();
    match offload {
        "rx-lro" => Some(
            Finding::warning(name, "LRO merges packets in the card: most drivers refuse native XDP with it, and TC sees fewer and longer packets")
                .with(off("lro")),
        ),
        "rx-gro-hw" if is_physical => Some(
            Finding::warning(name, "the card merges packets (rx-gro-hw) before they are metered by XDP")
                .with(off("rx-gro-hw")),
        ),
        "hw-tc-offload" => Some(
            Finding::warning(name, "flows may be forwarded in the card (hw-tc-offload), where no packet of them is seen")
                .with(off("hw-tc-offload")),
        ),
        "rx-vlan-hw-parse" if is_physical && !matches!(facts.mode, XdpMode::Tc | XdpMode::Generic) => Some(
            Finding::warning(name, "the card takes VLAN tags off (rxvlan): native XDP sees no vlanId, and frames of all VLANs are one")
                .with(off("rxvlan")),
        ),
        _ => None,
    }
}

fn drops(facts: &Facts) -> Option<Finding> {
    let name = facts.details.interface.name.as_str();
    let before: Vec<String> = facts
        .drops?
        .by_reason()
        .iter()
        .filter(|(reason, count)| *count > 0 && *reason != "dropped")
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    Some(if before.is_empty() {
        Finding::ok(name, "the card and its driver have dropped no frame before the meter")
    } else {
        Finding::warning(
            name,
            format!(
                "frames were dropped before the meter since the interface was made: {}",
                before.join(", ")
            ),
        )
        .with(format!("ethtool -S {name}; ethtool -g {name}; ethtool -l {name}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    fn good() -> Facts {
        Facts {
            details: InterfaceDetails {
                interface: Interface::named(3, "eth0"),
                kind: None,
                promiscuous: 0,
                receive_queues: 4,
                transmit_queues: 4,
                programs: Vec::new(),
            },
            driver: Some("ice".to_owned()),
            native_xdp: Some((true, true)),
            offloads: Ok(vec!["rx-gro".to_owned(), "rx-checksum".to_owned()]),
            drops: Some(ReceiveDrops { dropped: 9, ..ReceiveDrops::default() }),
            programs: Vec::new(),
            tc_programs: Some(Vec::new()),
            cpus: 4,
            mode: XdpMode::Auto,
        }
    }

    #[test]
    fn of_a_good_interface_nothing_is_amiss() {
        let findings = judge(&good());
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Ok), "{findings:?}");
    }

    #[test]
    fn what_hides_merges_or_takes_packets_is_named_with_the_remedy() {
        let with = |offload: &str| Facts { offloads: Ok(vec![offload.to_owned()]), ..good() };
        let virtual_one = |offload: &str| Facts { driver: None, ..with(offload) };
        let mut jumbo = Facts { native_xdp: Some((true, false)), ..good() };
        jumbo.details.interface.mtu = 9000;
        let mut down = good();
        down.details.interface.up = false;
        let missed = ReceiveDrops { missed: 7, ..ReceiveDrops::default() };
        let none = || Facts { native_xdp: Some((false, false)), ..good() };
        let cases = [
            (with("rx-lro"), Verdict::Warning, "LRO", "ethtool -K eth0 lro off"),
            (with("rx-gro-hw"), Verdict::Warning, "rx-gro-hw", "ethtool -K eth0 rx-gro-hw off"),
            (with("hw-tc-offload"), Verdict::Warning, "hw-tc-offload", "ethtool -K eth0 hw-tc-offload off"),
            (with("rx-vlan-hw-parse"), Verdict::Warning, "VLAN tags", "ethtool -K eth0 rxvlan off"),
            (virtual_one("rx-vlan-hw-parse"), Verdict::Ok, "no offload", ""),
            (Facts { mode: XdpMode::Tc, ..with("rx-vlan-hw-parse") }, Verdict::Ok, "no offload", ""),
            (jumbo, Verdict::Warning, "MTU 9000, but", "ip link set eth0 mtu 3498"),
            (down, Verdict::Warning, "it is down", "ip link set eth0 up"),
            (Facts { drops: Some(missed), ..good() }, Verdict::Warning, "7 missed", "ethtool -S eth0"),
            (
                Facts { programs: vec!["xdp_pass".to_owned()], ..good() },
                Verdict::Warning,
                "xdp_pass",
                "bpftool",
            ),
            (Facts { programs: vec!["netflow_xdp_fra".to_owned()], ..good() }, Verdict::Ok, "already", ""),
            (none(), Verdict::Ok, "metered by TC", ""),
            (Facts { mode: XdpMode::Native, ..none() }, Verdict::Fault, "no native XDP", "--xdp-mode auto"),
            (Facts { native_xdp: None, ..good() }, Verdict::Unknown, "6.3", ""),
            (Facts { offloads: Err("no ethtool".to_owned()), ..good() }, Verdict::Unknown, "no ethtool", ""),
        ];
        for (facts, verdict, text, remedy) in cases {
            let findings = judge(&facts);
            let found = findings.iter().find(|finding| finding.text.contains(text));
            let found = found.unwrap_or_else(|| panic!("nothing of {text} in {findings:?}"));
            assert_eq!(found.verdict, verdict, "{found:?}");
            assert!(found.remedy.as_deref().unwrap_or_default().contains(remedy), "{found:?}");
        }
    }
}

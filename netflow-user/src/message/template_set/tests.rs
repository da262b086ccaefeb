#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::message::DataType;

const PROTOCOLS: [Protocol; 2] = [Protocol::Ipfix, Protocol::NetflowV9];

fn default_set(protocol: Protocol) -> TemplateSet {
    TemplateSet::new(&TemplateOptions::new(protocol)).unwrap()
}

fn names(set: &TemplateSet, family: AddressFamily) -> Vec<&'static str> {
    set.fields(family).iter().map(Field::name).collect()
}

#[test]
fn records_have_the_lengths_that_collectors_were_tested_with() {
    let lengths = |protocol| -> Vec<(u16, usize, usize)> {
        let set = default_set(protocol);
        let templates = set.templates().iter();
        templates.map(|t| (t.id, t.data_record_len, t.template_record_len)).collect()
    };
    assert_eq!(lengths(Protocol::Ipfix), [(256, 69, 88), (257, 109, 92)]);
    assert_eq!(lengths(Protocol::NetflowV9), [(256, 59, 84), (257, 98, 88)]);
}

#[test]
fn v9_uses_the_field_types_it_shares_with_ipfix() {
    // V9-TMPL-10, V9-FLD-2, V9-FLD-3
    for template in default_set(Protocol::NetflowV9).templates() {
        assert!(template.fields.iter().all(|field| field.id() <= 127 && field.enterprise_number == 0));
        let is_absolute = |field: &Field| field.element.data_type() == DataType::DateTimeMilliseconds;
        assert!(!template.fields.iter().any(is_absolute));
    }
}

#[test]
fn counters_are_never_reduced() {
    // TPL-RULE-1: some collectors read 0 from other sizes.
    for protocol in PROTOCOLS {
        for template in default_set(protocol).templates() {
            let counters = template.fields.iter().filter(|field| matches!(field.id(), 1 | 2));
            assert_eq!(counters.map(|field| field.length).collect::<Vec<_>>(), [8, 8]);
        }
    }
}

#[test]
fn elements_that_are_not_in_the_key_are_left_out() {
    let options = TemplateOptions {
        key: vec![
            KeyElement { element: E::SOURCE_IPV4_ADDRESS, prefix_length: Some(24) },
            KeyElement::whole(E::DESTINATION_TRANSPORT_PORT),
        ],
        ..TemplateOptions::new(Protocol::Ipfix)
    };
    let set = TemplateSet::new(&options).unwrap();
    let ipv4 = [
        "sourceIPv4Address",
        "ipNextHopIPv4Address",
        "egressInterface",
        "packetDeltaCount",
        "octetDeltaCount",
        "flowStartMilliseconds",
        "flowEndMilliseconds",
        "destinationTransportPort",
        "tcpControlBits",
        "ipVersion",
        "minimumTTL",
        "maximumTTL",
        "flowEndReason",
        "sourceIPv4PrefixLength",
    ];
    assert_eq!(names(&set, AddressFamily::Ipv4), ipv4);
    let keys: Vec<bool> = set.fields(AddressFamily::Ipv4).iter().map(|field| field.is_key).collect();
    assert_eq!(keys.iter().positions(), [0, 7]);
    assert!(!names(&set, AddressFamily::Ipv6).contains(&"sourceIPv6Address"));
}

trait Positions {
    fn positions(self) -> Vec<usize>;
}

impl<'a, I: Iterator<Item = &'a bool>> Positions for I {
    fn positions(self) -> Vec<usize> {
        self.enumerate().filter(|(_, set)| **set).map(|(place, _)| place).collect()
    }
}

#[test]
fn each_combination_has_ids_of_its_own_that_never_change() {
    // TPL-RULE-17
    let ids = |protocol, groups: &[Group]| -> Vec<u16> {
        let groups = groups.iter().copied().collect();
        let options = TemplateOptions { groups, ..TemplateOptions::new(protocol) };
        let set = TemplateSet::new(&options).unwrap();
        set.templates().iter().map(|template| template.id).collect()
    };
    let size = ids(Protocol::Ipfix, &[Group::Size]);
    assert_eq!(size, ids(Protocol::Ipfix, &[Group::Size]));
    for group in [Group::Size, Group::Route, Group::L2, Group::Ttl] {
        let ids = ids(Protocol::Ipfix, &[group]);
        assert!(ids.iter().all(|id| (264..512).contains(id)), "{ids:?}");
        assert_eq!(ids[1], ids[0] + 1);
    }
}

#[test]
fn what_a_protocol_cannot_say_is_refused_by_name() {
    // V9-TMPL-10, IPFIX-FLD-3
    let refused = |protocol, group: Group, enterprise: u32| -> Option<String> {
        let options = TemplateOptions {
            groups: [group].into_iter().collect(),
            enterprise_number: NonZeroU32::new(enterprise),
            ..TemplateOptions::new(protocol)
        };
        TemplateSet::new(&options).err().map(|error| error.to_string())
    };
    assert_eq!(
        refused(Protocol::NetflowV9, Group::Ttl, 0).unwrap(),
        "group ttl has ipTTL, which NetFlow v9 cannot say: leave it out, or export IPFIX"
    );
    assert_eq!(
        refused(Protocol::Ipfix, Group::Tcp, 0).unwrap(),
        "group tcp has tcpRetransmittedPacketDeltaCount, which is no element of the registry: \
         give --enterprise-number"
    );
    let v9: Vec<&str> = Group::ALL
        .into_iter()
        .filter(|&group| refused(Protocol::NetflowV9, group, 32473).is_none())
        .map(Group::name)
        .collect();
    assert_eq!(v9, ["size", "mpls", "igmp", "route"]);
    let own = [Group::Fragments, Group::Tcp, Group::Tos, Group::Encapsulation];
    for group in Group::ALL {
        assert_eq!(refused(Protocol::Ipfix, group, 0).is_some(), own.contains(&group), "{group:?}");
        assert_eq!(refused(Protocol::Ipfix, group, 32473), None);
    }
}

#[test]
fn biflows_need_ipfix_and_both_addresses() {
    // BIFLOW-2
    let options = TemplateOptions { biflow: true, ..TemplateOptions::new(Protocol::NetflowV9) };
    assert_eq!(TemplateSet::new(&options).unwrap_err(), MessageError::BiflowInNetflowV9);
    let key = DEFAULT_KEY.into_iter().filter(|part| part.element != E::SOURCE_IPV6_ADDRESS).collect();
    let options = TemplateOptions { key, biflow: true, ..TemplateOptions::new(Protocol::Ipfix) };
    assert_eq!(TemplateSet::new(&options).unwrap_err(), MessageError::BiflowWithoutEndpoints);
    let options = TemplateOptions { biflow: true, ..TemplateOptions::new(Protocol::Ipfix) };
    let set = TemplateSet::new(&options).unwrap();
    let templates = set.templates().iter();
    let lengths: Vec<_> = templates.map(|t| (t.id, t.data_record_len, t.template_record_len)).collect();
    assert_eq!(lengths, [(256, 69, 88), (257, 109, 92), (258, 107, 156), (259, 147, 160)]);
}

#[test]
fn v9_says_nothing_of_a_tunnel_that_is_only_in_the_key() {
    let mut key = DEFAULT_KEY.to_vec();
    key.push(KeyElement::whole(E::GRE_KEY));
    let has = |protocol| -> Vec<&'static str> {
        let options = TemplateOptions { key: key.clone(), ..TemplateOptions::new(protocol) };
        let names = names(&TemplateSet::new(&options).unwrap(), AddressFamily::Ipv4);
        names.into_iter().filter(|name| ["greKey", "gtpuTEid", "layer2SegmentId"].contains(name)).collect()
    };
    assert_eq!(has(Protocol::Ipfix), ["layer2SegmentId", "greKey", "gtpuTEid"]);
    assert!(has(Protocol::NetflowV9).is_empty());
}

fn chosen(protocol: Protocol, text: &str, biflow: bool) -> Result<TemplateSet, MessageError> {
    let choice = Some(TemplateChoice::parse(text, NonZeroU32::new(32473)).unwrap());
    let enterprise_number = NonZeroU32::new(32473);
    TemplateSet::new(&TemplateOptions { choice, biflow, enterprise_number, ..TemplateOptions::new(protocol) })
}

#[test]
fn a_template_of_the_operators_own_has_its_fields_in_its_order() {
    // TPL-RULE-4, METER-CFG-1
    let text = "octetDeltaCount,destinationIPv6Address,sourceIPv4Address,packetDeltaCount/4,ipTTL,tunnelType";
    let set = chosen(Protocol::Ipfix, text, false).unwrap();
    let ipv4 = ["octetDeltaCount", "sourceIPv4Address", "packetDeltaCount", "ipTTL", "tunnelType"];
    assert_eq!(names(&set, AddressFamily::Ipv4), ipv4);
    let ipv6 = ["octetDeltaCount", "destinationIPv6Address", "packetDeltaCount", "ipTTL", "tunnelType"];
    assert_eq!(names(&set, AddressFamily::Ipv6), ipv6);
    assert_eq!(set.fields(AddressFamily::Ipv4)[2].length, 4);
    assert_eq!(set.fields(AddressFamily::Ipv4)[4].enterprise_number, 32473);
    let keys = |family| set.fields(family).iter().map(|field| field.is_key).collect::<Vec<_>>();
    assert_eq!(keys(AddressFamily::Ipv4).iter().positions(), [1]);
    assert!(set.templates().iter().all(|template| (264..512).contains(&template.id)));
}

#[test]
fn a_template_that_cannot_be_is_refused_with_the_reason() {
    // V9-TMPL-10, IPFIX-SET-5, BIFLOW-2, BIFLOW-3
    for (protocol, text, biflow, reason) in [
        (
            Protocol::NetflowV9,
            "flowStartMilliseconds",
            false,
            "flowStartMilliseconds cannot be said in NetFlow v9",
        ),
        (Protocol::NetflowV9, "octetDeltaCount,tunnelType", false, "tunnelType cannot be said in NetFlow v9"),
        (Protocol::NetflowV9, "octetDeltaCount,29305/1", false, "reverseOctetDeltaCount cannot be said"),
        (Protocol::Ipfix, "flowStartSysUpTime", false, "flowStartSysUpTime cannot be said in IPFIX"),
        (Protocol::Ipfix, "protocolIdentifier", false, "Ipv4 has 1 octets, too few"),
        (Protocol::Ipfix, "sourceIPv4Address", false, "Ipv6 has 0 octets, too few"),
        (
            Protocol::Ipfix,
            "octetDeltaCount,reverseOctetDeltaCount",
            false,
            "reverseOctetDeltaCount needs --biflow",
        ),
        (Protocol::Ipfix, "octetDeltaCount,biflowDirection", false, "biflowDirection needs --biflow"),
        (Protocol::Ipfix, "octetDeltaCount", true, "needs reversePacketDeltaCount"),
        (
            Protocol::Ipfix,
            "octetDeltaCount,29305/1,sourceIPv4Address",
            true,
            "source and destination addresses",
        ),
        (Protocol::Ipfix, "octetDeltaCount,dot1qCustomerVlanId,greKey", false, ""),
    ] {
        let error = chosen(protocol, text, biflow).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(reason) && error.is_empty() == reason.is_empty(), "{text}: {error}");
    }
    let of_key = TemplateOptions {
        choice: Some(TemplateChoice::parse("octetDeltaCount,icmpTypeIPv4", None).unwrap()),
        key: vec![KeyElement::whole(E::PROTOCOL_IDENTIFIER)],
        ..TemplateOptions::new(Protocol::Ipfix)
    };
    let error = TemplateSet::new(&of_key).unwrap_err().to_string();
    assert_eq!(error, "--template: icmpTypeIPv4 is not in the Flow Key: add it to --key, or leave it out");
}

#[test]
fn a_flow_in_one_direction_has_no_reverse_fields_of_the_operators_choice() {
    // BIFLOW-4
    let text = "sourceIPv4Address,destinationIPv4Address,sourceIPv6Address,destinationIPv6Address,octetDeltaCount,\
                reverseOctetDeltaCount,biflowDirection";
    let set = chosen(Protocol::Ipfix, text, true).unwrap();
    let lengths: Vec<usize> = set.templates().iter().map(|template| template.data_record_len).collect();
    assert_eq!(lengths, [16, 40, 25, 49]);
}

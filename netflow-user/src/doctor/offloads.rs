//! What a driver does with packets before they are metered, by ethtool's netlink, and whether it has native XDP, by that of
//! network devices. This room parses no more of it than these questions need.

use ethtool::{EthtoolAttr, EthtoolFeatureAttr};
use futures_util::StreamExt as _;
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use rtnetlink::packet_core::{
    DecodeError, Emitable, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, NlasIterator, ParseableParametrized,
};

/// The features of an interface that are on, by the kernel's names (`ethtool -k` has shorter ones for some).
///
/// Errors are a line: why they are not known.
pub(super) async fn active(interface: &str) -> Result<Vec<String>, String> {
    let (connection, mut handle, _) = ethtool::new_connection().map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let answered = async {
        let mut answers = handle.feature().get(Some(interface)).execute().await?.boxed();
        let mut on = Vec::new();
        while let Some(answer) = answers.next().await {
            for attribute in answer?.payload.nlas {
                if let EthtoolAttr::Feature(EthtoolFeatureAttr::Active(bits)) = attribute {
                    on.extend(bits.into_iter().filter(|bit| bit.value).map(|bit| bit.name));
                }
            }
        }
        Ok::<_, ethtool::EthtoolError>(on)
    };
    let answered = answered.await.map_err(|error| error.to_string());
    connection.abort();
    answered
}

/// Whether the driver has native XDP, and whether also for frames of several buffers; `None` where the kernel does
/// not say (before 6.3).
pub(super) async fn native_xdp(index: u32) -> Option<(bool, bool)> {
    const BASIC: u64 = 1;
    const SEVERAL_BUFFERS: u64 = 1 << 5;
    let (connection, mut handle, _) = genetlink::new_connection().ok()?;
    let connection = tokio::spawn(connection);
    let mut request = NetlinkMessage::from(GenlMessage::from_payload(Device::Asked { index }));
    request.header.flags = NLM_F_REQUEST;
    let answered = async {
        let mut answers = handle.request(request).await.ok()?.boxed();
        match answers.next().await?.ok()?.payload {
            NetlinkPayload::InnerMessage(GenlMessage { payload: Device::Told { xdp_features }, .. }) => {
                xdp_features
            }
            _ => None,
        }
    };
    let features = answered.await;
    connection.abort();
    features.map(|features| (features & BASIC != 0, features & SEVERAL_BUFFERS != 0))
}

/// A message of the generic netlink family `netdev` (linux/netdev.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Device {
    /// Which interface.
    Asked { index: u32 },
    /// What its driver can do.
    Told { xdp_features: Option<u64> },
}

/// NETDEV_A_DEV_IFINDEX, NETDEV_A_DEV_XDP_FEATURES.
const IFINDEX: u16 = 1;
const XDP_FEATURES: u16 = 3;
/// Octets of the one attribute that is sent: length, kind, ifIndex.
const ASKED: usize = 8;

impl GenlFamily for Device {
    fn family_name() -> &'static str {
        "netdev"
    }

    /// NETDEV_CMD_DEV_GET.
    fn command(&self) -> u8 {
        1
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Device {
    fn buffer_len(&self) -> usize {
        ASKED
    }

    fn emit(&self, buffer: &mut [u8]) {
        let Self::Asked { index } = self else { return };
        let octets =
            [&(ASKED as u16).to_ne_bytes()[..], &IFINDEX.to_ne_bytes(), &index.to_ne_bytes()].concat();
        if let Some(place) = buffer.get_mut(..ASKED) {
            place.copy_from_slice(&octets);
        }
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Device {
    fn parse_with_param(octets: &[u8], _: GenlHeader) -> Result<Self, DecodeError> {
        let mut xdp_features = None;
        for attribute in NlasIterator::new(octets) {
            let attribute = attribute?;
            if attribute.kind() == XDP_FEATURES {
                xdp_features = attribute.value().try_into().ok().map(u64::from_ne_bytes);
            }
        }
        Ok(Self::Told { xdp_features })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_request_has_the_index_and_an_answer_the_features() {
        let mut octets = [0; ASKED];
        Device::Asked { index: 7 }.emit(&mut octets);
        assert_eq!(octets[4..], 7u32.to_ne_bytes());
        let header = || GenlHeader { cmd: 1, version: 1 };
        assert_eq!(Device::parse_with_param(&octets, header()).unwrap(), Device::Told { xdp_features: None });
        let answer = [&12u16.to_ne_bytes()[..], &XDP_FEATURES.to_ne_bytes(), &35u64.to_ne_bytes()].concat();
        assert_eq!(
            Device::parse_with_param(&answer, header()).unwrap(),
            Device::Told { xdp_features: Some(35) }
        );
        // Cut off: an error, or nothing.
        for end in 0..answer.len() {
            let cut = Device::parse_with_param(&answer[..end], header());
            assert!(!matches!(cut, Ok(Device::Told { xdp_features: Some(_) })), "{end}");
        }
    }
}

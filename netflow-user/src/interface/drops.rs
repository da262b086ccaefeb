//! What the network card and its driver counted as dropped.

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::link::{LinkAttribute, Stats64};

use super::{InterfaceError, Interfaces};

/// Received frames that an interface did not hand on, by the kernel's own reasons (rtnl_link_stats64).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReceiveDrops {
    /// The driver or the stack had no use or no memory for them: of all reasons the only one that may also count
    /// packets which were metered.
    pub dropped: u64,
    /// The host gave the card no buffer in time.
    pub missed: u64,
    /// The card's own memory ran over.
    pub fifo: u64,
    /// The ring ran over.
    pub over: u64,
    /// A wrong checksum of the frame.
    pub crc: u64,
    /// Not aligned.
    pub frame: u64,
    /// Of an impossible length.
    pub length: u64,
}

impl ReceiveDrops {
    /// With the names of the reasons.
    pub fn by_reason(&self) -> [(&'static str, u64); 7] {
        [
            ("dropped", self.dropped),
            ("missed", self.missed),
            ("fifo", self.fifo),
            ("over", self.over),
            ("crc", self.crc),
            ("frame", self.frame),
            ("length", self.length),
        ]
    }
}

impl From<&Stats64> for ReceiveDrops {
    fn from(stats: &Stats64) -> Self {
        Self {
            dropped: stats.rx_dropped,
            missed: stats.rx_missed_errors,
            fifo: stats.rx_fifo_errors,
            over: stats.rx_over_errors,
            crc: stats.rx_crc_errors,
            frame: stats.rx_frame_errors,
            length: stats.rx_length_errors,
        }
    }
}

impl Interfaces {
    /// What an interface has dropped of received frames; `None` where there is none of this index.
    ///
    /// # Errors
    /// Netlink failed.
    pub async fn receive_drops(&self, index: u32) -> Result<Option<ReceiveDrops>, InterfaceError> {
        let request = self.handle.link().get().match_index(index);
        let message = match request.execute().try_next().await {
            Ok(message) => message,
            // It is gone.
            Err(rtnetlink::Error::NetlinkError(_)) => None,
            Err(source) => {
                return Err(InterfaceError::Request { what: "counters", source: Box::new(source) });
            }
        };
        let mut attributes = message.iter().flat_map(|message| &message.attributes);
        Ok(attributes.find_map(|attribute| match attribute {
            LinkAttribute::Stats64(stats) => Some(stats.into()),
            _ => None,
        }))
    }
}

//! All judges of one run: a collector of each protocol, and tshark on the way to both.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;

use super::{ExportedMessage, Nfcapd, NfcapdVerdict, Tshark};
use crate::lab::Namespace;

/// Version and port of the collector of NetFlow v9.
pub const NETFLOW_V9: (u16, u16) = (9, 2055);
/// Version and port of the collector of IPFIX.
pub const IPFIX: (u16, u16) = (10, 4739);

/// Judges that listen.
pub struct Panel {
    host: IpAddr,
    netflow_v9: Nfcapd,
    ipfix: Nfcapd,
    tshark: Tshark,
}

/// What they found.
pub struct PanelVerdict {
    /// The collector of NetFlow v9.
    pub netflow_v9: NfcapdVerdict,
    /// The collector of IPFIX.
    pub ipfix: NfcapdVerdict,
    /// The messages on the way, as tshark reads them.
    pub messages: Vec<ExportedMessage>,
    /// What tshark complains of.
    pub complaints: Vec<String>,
}

impl Panel {
    /// Starts them on an address of the loopback interface.
    pub fn start(namespace: &Namespace, host: IpAddr) -> Result<Self> {
        let filter = format!("udp and (port {} or port {})", NETFLOW_V9.1, IPFIX.1);
        Ok(Self {
            host,
            netflow_v9: Nfcapd::start(namespace, (host, NETFLOW_V9.1).into())?,
            ipfix: Nfcapd::start(namespace, (host, IPFIX.1).into())?,
            tshark: Tshark::start(namespace, "lo", &filter)?,
        })
    }

    /// The agent's collectors, as its arguments.
    pub fn collectors(&self) -> [String; 4] {
        let url =
            |protocol, port| format!("udp://{}?protocol={protocol}", SocketAddr::from((self.host, port)));
        ["-c".into(), url("v9", NETFLOW_V9.1), "-c".into(), url("ipfix", IPFIX.1)]
    }

    /// Stops them, after the agent.
    pub fn stop(self) -> Result<PanelVerdict> {
        // Its end waits for silence, so that the others have read what came.
        let capture = self.tshark.stop()?.decode_as_cflow(NETFLOW_V9.1).decode_as_cflow(IPFIX.1);
        Ok(PanelVerdict {
            netflow_v9: self.netflow_v9.stop()?,
            ipfix: self.ipfix.stop()?,
            messages: capture.messages()?,
            complaints: capture.expert_messages()?,
        })
    }
}

impl PanelVerdict {
    /// The collector of a protocol.
    pub fn nfcapd(&self, (version, _): (u16, u16)) -> &NfcapdVerdict {
        if version == NETFLOW_V9.0 { &self.netflow_v9 } else { &self.ipfix }
    }

    /// The messages that went to the collector of a protocol from one observation domain.
    pub fn messages_of(&self, (_, port): (u16, u16), domain: u32) -> Vec<&ExportedMessage> {
        self.messages.iter().filter(|message| (message.port, message.domain) == (port, domain)).collect()
    }
}

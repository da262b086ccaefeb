//! What this exporter sends is told to the kernel program, so that it does not meter it.
//!
//! In: both ends of each Transport Session's socket. Out: a bit for its local port, which is what the program asks
//! of each UDP packet (and of TCP and SCTP, where the exporter has connections), and an entry of its addresses and ports, which decides.

use std::{collections::BTreeSet, net::SocketAddr};

use aya::maps::{Array, HashMap, MapData, MapError};
use netflow_common::{FlowKey, names};
use serde::{Deserialize, Serialize};

use super::{KernelError, handed_over::Descriptors};

/// Sockets that can be told apart, of 112 octets each.
pub(super) const SOCKETS: u32 = 1024;

/// Which messages of this exporter are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum OwnExport {
    /// None: they are metered like other packets.
    #[default]
    Metered = 0,
    /// Those that a metered interface sends.
    LeftOutWhereSent = 1,
    /// Also those that TC sees received: on the loopback interface.
    LeftOut = 2,
}

/// The ends of a Transport Session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SessionSocket {
    /// protocolIdentifier: UDP, TCP or SCTP.
    pub protocol: u8,
    /// The Exporting Process's.
    pub local: SocketAddr,
    /// The Collecting Process's.
    pub peer: SocketAddr,
}

impl SessionSocket {
    /// What the program makes of its packets.
    fn key(&self) -> FlowKey {
        FlowKey::of_session(
            self.protocol,
            (self.local.ip().to_canonical(), self.local.port()),
            (self.peer.ip().to_canonical(), self.peer.port()),
        )
    }
}

/// The maps, and what is in them.
pub(super) struct OwnExportMaps {
    ports: Array<MapData, u64>,
    sockets: HashMap<MapData, [u8; size_of::<FlowKey>()], u8>,
    known: BTreeSet<SessionSocket>,
}

impl OwnExportMaps {
    pub(super) fn open(descriptors: &mut Descriptors) -> Result<Self, KernelError> {
        let ports = descriptors.open(names::MAP_OWN_PORTS)?;
        Ok(Self { ports, sockets: descriptors.open(names::MAP_OWN_EXPORT)?, known: BTreeSet::new() })
    }

    /// Those that are left out.
    pub(super) fn known(&self) -> impl Iterator<Item = SessionSocket> {
        self.known.iter().copied()
    }

    /// Messages of this session are left out from now on.
    pub(super) fn add(&mut self, socket: SessionSocket) -> Result<(), KernelError> {
        self.sockets
            .insert(bytemuck::cast::<_, [u8; size_of::<FlowKey>()]>(socket.key()), 1, 0)
            .and_then(|()| {
                self.known.insert(socket);
                self.tell(socket.local.port())
            })
            .map_err(|source| KernelError::OwnExport { local: socket.local, source })
    }

    /// The session is over: its port may become another program's.
    pub(super) fn remove(&mut self, socket: &SessionSocket) -> Result<(), KernelError> {
        if !self.known.remove(socket) {
            return Ok(());
        }
        self.sockets
            .remove(&bytemuck::cast(socket.key()))
            .and_then(|()| self.tell(socket.local.port()))
            .map_err(|source| KernelError::OwnExport { local: socket.local, source })
    }

    /// Writes the word that the port's bit is in.
    fn tell(&mut self, port: u16) -> Result<(), MapError> {
        let word = port / 64;
        let ports = self.known.iter().map(|socket| socket.local.port()).filter(|port| port / 64 == word);
        let bits = ports.fold(0, |bits, port| bits | 1u64 << (port % 64));
        self.ports.set(word.into(), bits, 0)
    }
}

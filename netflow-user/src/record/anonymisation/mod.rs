//! ANONYMISATION: records lose their addresses before anything beyond this room sees them.
//!
//! In: a [`FlowRecord`] and the rules of the operator. Out: the same record with addresses that were permuted
//! (Crypto-PAn) or cut. Ledger and flow cache do not notice. It refuses to know interfaces other than by
//! what it is told: index and name.

mod crypto_pan;
mod key;
mod memo;
mod policy;
mod rule;
#[cfg(test)]
mod tests;

use netflow_common::{Address, IpVersion};

use self::{
    crypto_pan::{CryptoPan, leading},
    policy::Methods,
};
pub use self::{
    key::{Key, KeyError},
    policy::{Announcement, AnonymisationError, Policy},
    rule::{Family, Method, Rule, RuleError},
};
use super::FlowRecord;

/// Transforms records.
pub struct Anonymiser {
    policy: Policy,
    crypto_pan: Option<CryptoPan>,
    /// Interfaces whose methods are not the general ones, by ascending ifIndex.
    interfaces: Vec<(u32, Methods)>,
}

impl Anonymiser {
    /// With the rules for all interfaces; those for one hold when [`Self::attached`] has told its index.
    pub fn new(policy: Policy) -> Self {
        let crypto_pan = policy.key().map(CryptoPan::new);
        Self { policy, crypto_pan, interfaces: Vec::new() }
    }

    /// The interface `index` is metered from now on, under this name. To be told before its first record; what an
    /// earlier interface of the same index had is forgotten.
    pub fn attached(&mut self, index: u32, name: &str) {
        let place = self.interfaces.binary_search_by_key(&index, |(known, _)| *known);
        match (place, self.policy.at(name)) {
            (Ok(place), Some(methods)) => self.interfaces[place].1 = methods,
            (Ok(place), None) => drop(self.interfaces.remove(place)),
            (Err(place), Some(methods)) => self.interfaces.insert(place, (index, methods)),
            (Err(_), None) => {}
        }
    }

    /// The interface `index` has another name now. It takes the rules of that name; where there are none it keeps
    /// those it had: a new name must not uncover addresses.
    pub fn renamed(&mut self, index: u32, name: &str) {
        if self.policy.at(name).is_some() {
            self.attached(index, name);
        }
    }

    /// Transforms the addresses of a record. What is unknown (zero) stays so where it is not an address of a packet.
    pub fn apply(&mut self, record: &mut FlowRecord) {
        let methods = self.methods(record.key.interface);
        let is_ipv4 = record.key.ip_version == IpVersion::V4;
        let method = methods.of(if is_ipv4 { Family::Ipv4 } else { Family::Ipv6 });
        if method != Method::None {
            self.apply_to_addresses(record, is_ipv4, method);
        }
        if let (Some(extras), Method::Truncate(bits)) = (&mut record.extras, methods.of(Family::Mac)) {
            let first = &mut extras.counters.first_packet;
            for mac in [
                &mut extras.key.source_mac,
                &mut extras.key.destination_mac,
                &mut first.source_mac,
                &mut first.destination_mac,
            ] {
                *mac = truncated(*mac, bits);
            }
        }
        if let Some(reverse) = &mut record.reverse {
            self.apply(reverse);
        }
    }

    fn apply_to_addresses(&mut self, record: &mut FlowRecord, is_ipv4: bool, method: Method) {
        record.key.source_address = self.address(record.key.source_address, is_ipv4, method);
        record.key.destination_address = self.address(record.key.destination_address, is_ipv4, method);
        let route = &mut record.route;
        if route.next_hop != Address::default() {
            route.next_hop = self.address(route.next_hop, is_ipv4, method);
        }
        if let Method::Truncate(bits) = method {
            route.source_prefix_length = route.source_prefix_length.min(bits);
            route.destination_prefix_length = route.destination_prefix_length.min(bits);
        }
        if let Some(extras) = &mut record.extras {
            extras.key.flow = record.key;
        }
    }

    fn methods(&self, interface: u32) -> Methods {
        let place = self.interfaces.binary_search_by_key(&interface, |(known, _)| *known);
        place.map_or_else(|_| self.policy.general(), |place| self.interfaces[place].1)
    }

    fn address(&mut self, address: Address, is_ipv4: bool, method: Method) -> Address {
        match (method, &mut self.crypto_pan) {
            (Method::None, _) => address,
            (Method::Truncate(bits), _) => Address::from_ipv6(truncated(address.octets(), bits)),
            (Method::CryptoPan, Some(crypto_pan)) if is_ipv4 => {
                Address::from_ipv4(crypto_pan.ipv4(address.ipv4_octets()))
            }
            (Method::CryptoPan, Some(crypto_pan)) => Address::from_ipv6(crypto_pan.ipv6(address.octets())),
            // `Policy` holds a key wherever a rule asks for it; without one nothing may be shown.
            (Method::CryptoPan, None) => Address::default(),
        }
    }
}

/// The first bits; zero behind them.
fn truncated<const N: usize>(octets: [u8; N], bits: u8) -> [u8; N] {
    let mask = leading(bits.into()).to_be_bytes();
    std::array::from_fn(|i| octets[i] & mask[i])
}

//! What the log says of anonymisation at start, and which interfaces its rules find.

use tracing::{info, warn};

use crate::{
    interface::Interface,
    record::anonymisation::{Anonymiser, Policy},
};

/// Goes by the policy from the first record on.
pub(super) fn anonymiser<'a>(
    policy: Policy,
    interfaces: impl Iterator<Item = &'a Interface> + Clone,
) -> Anonymiser {
    info!("anonymisation: {policy}");
    for family in policy.unnamed() {
        warn!(
            "{family} addresses are exported as they are: no --anonymise rule for every interface names them"
        );
    }
    for name in policy.interfaces() {
        if !interfaces.clone().any(|interface| interface.name == name) {
            warn!("--anonymise has rules for {name}, which is not metered now");
        }
    }
    let mut anonymiser = Anonymiser::new(policy);
    for interface in interfaces {
        anonymiser.attached(interface.index, &interface.name);
    }
    anonymiser
}

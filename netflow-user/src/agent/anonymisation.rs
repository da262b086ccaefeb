//! What the log says of anonymisation when it begins, and which interfaces its rules find.

use tracing::{info, warn};

use crate::record::anonymisation::{Anonymiser, Policy};

/// Goes by the policy from the next record on; interfaces by ifIndex and name.
pub(super) fn anonymiser<'a>(
    policy: Policy,
    interfaces: impl Iterator<Item = (u32, &'a str)> + Clone,
) -> Anonymiser {
    info!("anonymisation: {policy}");
    for family in policy.unnamed() {
        warn!(
            "{family} addresses are exported as they are: no --anonymise rule for every interface names them"
        );
    }
    for name in policy.interfaces() {
        if !interfaces.clone().any(|(_, metered)| metered == name) {
            warn!("--anonymise has rules for {name}, which is not metered now");
        }
    }
    let mut anonymiser = Anonymiser::new(policy);
    for (index, name) in interfaces {
        anonymiser.attached(index, name);
    }
    anonymiser
}

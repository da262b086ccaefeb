//! Policy rules (`ip rule`): which table a packet is looked up in.
//!
//! A packet is taken as it was received: with mark 0, and, as the kernel has it for packets that it forwards, of
//! user 0. What else a rule may select by (ToS, protocol, ports, tunnel ids) is not looked at: such rules are
//! passed over.

use super::prefix::{Family, Prefix};

/// What is done with a packet that a rule selects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Looked up in the table of this id.
    Table(u32),
    /// Looked up in the table of its VRF.
    Vrf,
    /// On with the rule of this priority.
    GoTo(u32),
    /// On with the next rule.
    Nothing,
    /// Dropped.
    Refuse,
}

/// A rule as the kernel lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rule {
    /// The lowest first.
    pub(super) priority: u32,
    pub(super) action: Action,
    /// The rule is for packets that its selectors do not hold.
    pub(super) invert: bool,
    pub(super) from: Option<Prefix>,
    pub(super) to: Option<Prefix>,
    /// The name of the interface that a packet came in by.
    pub(super) interface: Option<String>,
    /// It selects by a mark or user that a packet as received has not, or by an outgoing interface.
    pub(super) elsewhere: bool,
    /// It selects by something that is not looked at.
    pub(super) unread: bool,
    /// A result with a prefix no longer than this does not count.
    pub(super) suppress: Option<u8>,
}

/// Tables that exist without being made (rt_tables).
const LOCAL: u32 = 255;
const MAIN: u32 = 254;
const DEFAULT: u32 = 253;

impl Rule {
    /// A rule for every packet.
    pub(super) fn plain(priority: u32, action: Action) -> Self {
        Self {
            priority,
            action,
            invert: false,
            from: None,
            to: None,
            interface: None,
            elsewhere: false,
            unread: false,
            suppress: None,
        }
    }

    /// What a kernel does that has no rules (built without policy routing).
    pub(super) fn built_in(family: Family) -> Vec<Self> {
        let mut rules = vec![
            Self::plain(0, Action::Table(LOCAL)),
            Self::plain(32766, Action::Table(MAIN)),
            Self::plain(32767, Action::Table(DEFAULT)),
        ];
        rules.truncate(if family == Family::V4 { 3 } else { 2 });
        rules
    }
}

/// Puts a rule behind those of its priority, as the kernel does, once.
pub(super) fn add(rules: &mut Vec<Rule>, rule: Rule) {
    if !rules.contains(&rule) {
        let at = rules.partition_point(|other| other.priority <= rule.priority);
        rules.insert(at, rule);
    }
}

/// Removes a rule; whether it was there.
pub(super) fn remove(rules: &mut Vec<Rule>, rule: &Rule) -> bool {
    let found = rules.iter().position(|other| other == rule);
    found.map(|at| rules.remove(at)).is_some()
}

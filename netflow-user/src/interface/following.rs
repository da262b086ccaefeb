//! What to do when links change: which interfaces to meter from now on, and which no longer.
//!
//! In: links as they become known, one by one or all at once, and what became of attaching. Out: [`Change`]s, to be
//! carried out in their order. Pure: no netlink, no kernel.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Interface,
    selection::{Links, OnTop, Selection, Verdict, below, on_top},
};

/// One thing to do, or to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Begin to meter.
    Attach {
        /// To be given back to [`Following::attached`]: no two attempts have the same.
        ticket: u64,
        /// What to meter.
        interface: Interface,
    },
    /// Meter no longer, and end its flows before anything else is attached to its index.
    Detach {
        /// ifIndex.
        index: u32,
        /// Its last name.
        name: String,
        /// Why.
        cause: Cause,
    },
    /// A metered interface has another name. Its flows go on.
    Renamed {
        /// ifIndex.
        index: u32,
        /// Before.
        from: String,
        /// Now.
        to: String,
    },
    /// A metered interface is administratively down.
    Down {
        /// Its name.
        name: String,
    },
    /// It is up again.
    Up {
        /// Its name.
        name: String,
    },
    /// A glob matches it, but it is not the lowest of its stack. Told once.
    PassedOver {
        /// Its name.
        name: String,
        /// Why.
        why: OnTop,
    },
    /// Two metered interfaces see the same packets.
    CountedTwice {
        /// The upper one, which was named literally.
        name: String,
        /// The lower one; of a tunnel it may be any.
        below: Option<String>,
    },
}

/// Why an interface is metered no longer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Removed, or moved to another network namespace.
    Gone,
    /// Removed, and there is a new one with its index.
    Replaced,
    /// Renamed to what is excluded.
    Excluded,
    /// Nothing asks for it any more, or it was renamed to what is not asked for before it was ever up.
    Unasked,
    /// Its packets are metered where they come from now.
    OnTop(OnTop),
}

/// What became of an attempt to attach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// It is metered, by the XDP program of this id if by one.
    Metered(Option<u32>),
    /// It is not, and why.
    Failed(String),
}

/// What an attempt means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// It is metered now.
    Metered {
        /// As it was when attaching began.
        interface: Interface,
    },
    /// It failed for a reason that was not told yet.
    Failed {
        /// The interface's name.
        name: String,
        /// Why.
        reason: String,
    },
    /// It failed, and the interface has changed meanwhile: try again.
    Again(Change),
    /// It was told already, or says nothing about what is there now.
    Void,
}

#[derive(Debug)]
struct Wanted {
    ticket: u64,
    name: String,
    named: bool,
    was_up: bool,
    /// Why it cannot be metered, as it was told last.
    told: Option<String>,
    state: State,
}

#[derive(PartialEq, Debug)]
enum State {
    Attaching(Interface),
    Metered(Option<u32>),
    Failed,
}

/// The links that are known, and those that are metered or should be.
#[derive(Debug)]
pub struct Following {
    selection: Selection,
    links: Links,
    wanted: BTreeMap<u32, Wanted>,
    passed_over: BTreeSet<u32>,
    tickets: u64,
}

impl Following {
    /// Knows no link yet.
    pub fn new(selection: Selection) -> Self {
        Self {
            selection,
            links: Links::new(),
            wanted: BTreeMap::new(),
            passed_over: BTreeSet::new(),
            tickets: 0,
        }
    }

    /// What was asked for.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Something else is asked for from now on: what is not any more is metered no longer, whatever its name was before.
    pub fn select(&mut self, selection: Selection) -> Vec<Change> {
        let mut changes = Vec::new();
        self.selection = selection;
        let Self { selection, links, wanted, .. } = self;
        wanted.retain(|&index, wanted| {
            let Some(link) = links.get(&index) else { return true };
            let verdict = selection.verdict(link, links);
            wanted.named = verdict == Verdict::Named;
            let is_asked_for = verdict != Verdict::Unasked;
            if !is_asked_for {
                let name = link.name.clone();
                changes.push(Change::Detach { index, name, cause: Cause::Unasked });
            }
            is_asked_for
        });
        self.choose(&mut changes);
        changes
    }

    /// All links, by ifIndex.
    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    /// Whether nothing is metered, nor about to be.
    pub fn is_idle(&self) -> bool {
        self.wanted.values().all(|wanted| wanted.state == State::Failed)
    }

    /// The names of those that are metered.
    pub fn metered_names(&self) -> Vec<String> {
        let metered = self.wanted.values().filter(|wanted| matches!(wanted.state, State::Metered(_)));
        metered.map(|wanted| wanted.name.clone()).collect()
    }

    /// Those that are metered, by ifIndex.
    pub fn metered(&self) -> impl Iterator<Item = &Interface> {
        let metered = self.wanted.iter().filter(|(_, wanted)| matches!(wanted.state, State::Metered(_)));
        metered.filter_map(|(index, _)| self.links.get(index))
    }

    /// A link is new, or something about it is.
    pub fn changed(&mut self, link: Interface) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.links.get(&link.index) != Some(&link) {
            self.enter(link, &mut changes);
            self.choose(&mut changes);
        }
        changes
    }

    /// A link is gone.
    pub fn removed(&mut self, index: u32) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.links.contains_key(&index) {
            self.leave(index, Cause::Gone, &mut changes);
            self.choose(&mut changes);
        }
        changes
    }

    /// All links there are, after changes may have been missed. An interface whose meter is not seen on it was
    /// removed meanwhile and made again.
    pub fn replaced(&mut self, links: Vec<Interface>) -> Vec<Change> {
        let mut changes = Vec::new();
        let indexes: BTreeSet<u32> = links.iter().map(|link| link.index).collect();
        let gone: Vec<u32> = self.links.keys().filter(|index| !indexes.contains(index)).copied().collect();
        for index in gone {
            self.leave(index, Cause::Gone, &mut changes);
        }
        for link in links {
            let index = link.index;
            let same = match self.wanted.get(&index).map(|wanted| &wanted.state) {
                Some(State::Metered(program)) => program.is_some_and(|id| link.programs.contains(&id)),
                // Whether the old one or the new one gets the meter cannot be told.
                Some(State::Attaching(_)) => false,
                Some(State::Failed) | None => true,
            };
            if !same {
                self.leave(index, Cause::Replaced, &mut changes);
            }
            self.enter(link, &mut changes);
        }
        self.choose(&mut changes);
        changes
    }

    /// What became of [`Change::Attach`]. What is said of an interface that is gone meanwhile is void.
    pub fn attached(&mut self, index: u32, ticket: u64, attempt: Attempt) -> News {
        let Some(wanted) = self.wanted.get_mut(&index).filter(|wanted| wanted.ticket == ticket) else {
            return News::Void;
        };
        let reason = match attempt {
            Attempt::Metered(program) => {
                wanted.told = None;
                return match std::mem::replace(&mut wanted.state, State::Metered(program)) {
                    State::Attaching(interface) => News::Metered { interface },
                    State::Metered(_) | State::Failed => News::Void,
                };
            }
            Attempt::Failed(reason) => reason,
        };
        let before = std::mem::replace(&mut wanted.state, State::Failed);
        match (before, self.links.get(&index)) {
            (State::Attaching(tried), Some(link)) if tried != *link => News::Again(self.attach(link.clone())),
            _ if wanted.told.as_ref() == Some(&reason) => News::Void,
            _ => {
                wanted.told = Some(reason.clone());
                News::Failed { name: wanted.name.clone(), reason }
            }
        }
    }

    fn enter(&mut self, link: Interface, changes: &mut Vec<Change>) {
        let index = link.index;
        let before = self.links.insert(index, link.clone());
        let Some(wanted) = self.wanted.get_mut(&index) else { return };
        if wanted.name != link.name {
            let from = std::mem::replace(&mut wanted.name, link.name.clone());
            changes.push(Change::Renamed { index, from, to: link.name.clone() });
        }
        let was_up = before.as_ref().is_some_and(|before| before.up);
        // The first time up is no news.
        let again = wanted.was_up;
        wanted.was_up |= link.up;
        match wanted.state {
            State::Metered(_) if was_up && !link.up => changes.push(Change::Down { name: link.name.clone() }),
            State::Metered(_) if !was_up && link.up && again => {
                changes.push(Change::Up { name: link.name.clone() });
            }
            State::Failed if before.as_ref() != Some(&link) => {
                let attach = self.attach(link);
                changes.push(attach);
            }
            _ => {}
        }
    }

    fn leave(&mut self, index: u32, cause: Cause, changes: &mut Vec<Change>) {
        self.links.remove(&index);
        self.passed_over.remove(&index);
        if let Some(Wanted { name, .. }) = self.wanted.remove(&index) {
            changes.push(Change::Detach { index, name, cause });
        }
    }

    /// Compares what is metered with what should be.
    fn choose(&mut self, changes: &mut Vec<Change>) {
        let mut begin = Vec::new();
        let Self { selection, links, wanted, passed_over, .. } = self;
        for (&index, link) in &*links {
            let verdict = selection.verdict(link, links);
            let cause = match (verdict, wanted.get(&index)) {
                (Verdict::Named | Verdict::Matched, Some(_)) => None,
                (Verdict::Named | Verdict::Matched, None) => {
                    begin.push(index);
                    None
                }
                (Verdict::OnTop(why), Some(wanted)) if !wanted.named => Some(Cause::OnTop(why)),
                (Verdict::OnTop(why), None) => {
                    if passed_over.insert(index) {
                        changes.push(Change::PassedOver { name: link.name.clone(), why });
                    }
                    None
                }
                (Verdict::Excluded, Some(_)) => Some(Cause::Excluded),
                // Under its new name a metered interface goes on: its flows must not break.
                (Verdict::Unasked, Some(wanted)) if !wanted.was_up || wanted.state == State::Failed => {
                    Some(Cause::Unasked)
                }
                _ => None,
            };
            if let Some(cause) = cause {
                wanted.remove(&index);
                changes.push(Change::Detach { index, name: link.name.clone(), cause });
            }
        }
        for index in begin {
            self.begin(index, changes);
        }
    }

    fn begin(&mut self, index: u32, changes: &mut Vec<Change>) {
        let Some(link) = self.links.get(&index).cloned() else { return };
        let named = self.selection.verdict(&link, &self.links) == Verdict::Named;
        self.warn_of_stack(&link, named, changes);
        let wanted = Wanted {
            ticket: 0,
            name: link.name.clone(),
            named,
            was_up: link.up,
            told: None,
            state: State::Attaching(link.clone()),
        };
        self.wanted.insert(index, wanted);
        let attach = self.attach(link);
        changes.push(attach);
    }

    fn warn_of_stack(&self, link: &Interface, named: bool, changes: &mut Vec<Change>) {
        let is_metered = |index: &u32| self.wanted.contains_key(index);
        let name_of = |index: u32| self.links.get(&index).map(|link| link.name.clone());
        // What builds on it and is metered already, being named.
        for upper in self.wanted.keys().filter(|upper| below(**upper, &self.links).contains(&link.index)) {
            let name = name_of(*upper).unwrap_or_default();
            changes.push(Change::CountedTwice { name, below: Some(link.name.clone()) });
        }
        if named {
            let under = below(link.index, &self.links);
            if let Some(lower) = under.into_iter().find(is_metered) {
                changes.push(Change::CountedTwice { name: link.name.clone(), below: name_of(lower) });
            } else if on_top(link, &self.links) == Some(OnTop::Tunnel) {
                changes.push(Change::CountedTwice { name: link.name.clone(), below: None });
            }
        }
    }

    /// An attempt with a number of its own.
    fn attach(&mut self, interface: Interface) -> Change {
        self.tickets += 1;
        if let Some(wanted) = self.wanted.get_mut(&interface.index) {
            wanted.ticket = self.tickets;
            wanted.was_up |= interface.up;
            wanted.state = State::Attaching(interface.clone());
        }
        Change::Attach { ticket: self.tickets, interface }
    }
}

#[cfg(test)]
mod tests;

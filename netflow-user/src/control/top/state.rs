//! What is shown, and what keys change of it. Pure: news and keys in, a state out.

use std::collections::HashMap;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::feed::{News, Picture, Wanted};
use crate::{
    control::{FlowQuery, InterfaceLine},
    ledger::Tally,
    time::UnixMillis,
};

/// Rows that are asked for: more than any window has.
const ROWS: u32 = 500;
/// The longest filter that can be typed.
const FILTER_LIMIT: usize = 1000;

/// What the table has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// Flows by source.
    Talkers,
    /// Flows by destination.
    Destinations,
    /// Single flows.
    Flows,
    /// By protocol and destination port.
    Ports,
    /// By protocol.
    Protocols,
    /// Interfaces.
    Interfaces,
    /// The sums of the books, and collectors.
    Ledger,
}

impl View {
    /// In the order of their keys, from 1.
    pub const ALL: [Self; 7] = [
        Self::Talkers,
        Self::Destinations,
        Self::Flows,
        Self::Ports,
        Self::Protocols,
        Self::Interfaces,
        Self::Ledger,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Talkers => "talkers",
            Self::Destinations => "destinations",
            Self::Flows => "flows",
            Self::Ports => "ports",
            Self::Protocols => "protocols",
            Self::Interfaces => "interfaces",
            Self::Ledger => "ledger",
        }
    }

    /// What flows are added up by; `None`: it has none.
    fn aggregate(self) -> Option<&'static [&'static str]> {
        Some(match self {
            Self::Talkers => &["sourceAddress"],
            Self::Destinations => &["destinationAddress"],
            Self::Flows => &[],
            Self::Ports => &["protocolIdentifier", "destinationTransportPort"],
            Self::Protocols => &["protocolIdentifier"],
            Self::Interfaces | Self::Ledger => return None,
        })
    }

    /// Whether it has flows, which can be sorted and filtered.
    pub fn has_flows(self) -> bool {
        self.aggregate().is_some()
    }
}

/// What rows are sorted by, as a request has it.
pub const SORTS: [&str; 4] = ["rate", "octets", "packets", "flows"];

/// What is to be done after a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Nothing but another frame.
    Draw,
    /// Something else is wanted of the agent.
    Ask,
    /// The end.
    Quit,
}

/// What happens in a second.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    pub packets: f64,
    pub octets: f64,
    pub records: f64,
    pub lost: f64,
    /// By ifIndex: received and sent, packets and octets.
    pub interfaces: HashMap<u32, [[f64; 2]; 2]>,
}

/// All that a frame is drawn of.
#[derive(Debug)]
pub struct State {
    pub view: View,
    /// A place in [`SORTS`].
    pub sort: usize,
    pub filter: String,
    /// What is being typed for a filter.
    pub typing: Option<String>,
    pub is_paused: bool,
    pub shows_help: bool,
    /// Rows that are above the window.
    pub offset: usize,
    pub has_colour: bool,
    pub picture: Option<Box<Picture>>,
    pub rates: Rates,
    /// Why there is no news.
    pub trouble: Option<String>,
}

impl State {
    /// At the start.
    pub fn new(has_colour: bool, filter: &str) -> Self {
        Self {
            view: View::Talkers,
            sort: 0,
            filter: filter.to_owned(),
            typing: None,
            is_paused: false,
            shows_help: false,
            offset: 0,
            has_colour,
            picture: None,
            rates: Rates::default(),
            trouble: None,
        }
    }

    /// What the agent is to be asked.
    pub fn wanted(&self) -> Wanted {
        let flows = self.view.aggregate().map(|aggregate| FlowQuery {
            filter: if self.filter.is_empty() { Vec::new() } else { vec![self.filter.clone()] },
            sort: SORTS[self.sort].to_owned(),
            top: ROWS,
            aggregate: aggregate.iter().map(|&name| name.to_owned()).collect(),
        });
        Wanted { flows, is_paused: self.is_paused }
    }

    /// Takes notice of what the agent said.
    pub fn hear(&mut self, news: News) {
        match news {
            Err(trouble) => self.trouble = Some(trouble),
            // Of what is not wanted any more, or came after a pause.
            Ok(picture) if self.is_paused || picture.wanted != self.wanted() => {}
            Ok(picture) => {
                self.trouble = None;
                if let Some(rates) = rates(self.picture.as_deref(), &picture) {
                    self.rates = rates;
                }
                self.picture = Some(picture);
            }
        }
    }

    /// A key was pressed.
    pub fn key(&mut self, key: KeyEvent) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Next::Quit;
        }
        if self.typing.is_some() {
            return self.type_filter(key.code);
        }
        if std::mem::take(&mut self.shows_help) {
            return Next::Draw;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => Next::Quit,
            KeyCode::Char('h' | '?') => {
                self.shows_help = true;
                Next::Draw
            }
            KeyCode::Char(digit @ '1'..='7') => {
                let place = digit as usize - '1' as usize;
                self.change(View::ALL[place])
            }
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(View::ALL.len() - 1),
            KeyCode::Char('s') if self.view.has_flows() => {
                self.sort = (self.sort + 1) % SORTS.len();
                Next::Ask
            }
            KeyCode::Char('/' | 'f') if self.view.has_flows() => {
                self.typing = Some(self.filter.clone());
                Next::Draw
            }
            KeyCode::Char('p' | ' ') => {
                self.is_paused = !self.is_paused;
                Next::Ask
            }
            code => {
                self.scroll(code);
                Next::Draw
            }
        }
    }

    fn change(&mut self, view: View) -> Next {
        (self.view, self.offset) = (view, 0);
        // The rows there are belong to another view; what a pause has frozen goes on, then.
        if let Some(picture) = &mut self.picture {
            picture.flows = None;
        }
        self.is_paused = false;
        Next::Ask
    }

    fn turn(&mut self, by: usize) -> Next {
        let place = View::ALL.iter().position(|view| *view == self.view).unwrap_or(0);
        self.change(View::ALL[(place + by) % View::ALL.len()])
    }

    fn scroll(&mut self, code: KeyCode) {
        self.offset = match code {
            KeyCode::Up | KeyCode::Char('k') => self.offset.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.offset + 1,
            KeyCode::PageUp => self.offset.saturating_sub(10),
            KeyCode::PageDown => self.offset + 10,
            KeyCode::Home => 0,
            _ => self.offset,
        }
        .min(ROWS as usize);
    }

    fn type_filter(&mut self, code: KeyCode) -> Next {
        let Some(text) = &mut self.typing else { return Next::Draw };
        match code {
            KeyCode::Enter => {
                self.filter = std::mem::take(text);
                (self.typing, self.offset, self.is_paused, self.trouble) = (None, 0, false, None);
                return Next::Ask;
            }
            KeyCode::Esc => self.typing = None,
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(letter) if text.len() < FILTER_LIMIT => text.push(letter),
            _ => {}
        }
        Next::Draw
    }
}

/// What happened in a second between two pictures; of the first one since counting began. `None` where there was no flip
/// between them.
fn rates(before: Option<&Picture>, now: &Picture) -> Option<Rates> {
    let since = before.map_or(now.summary.since, |before| before.summary.at);
    let seconds = seconds_between(since, now.summary.at)?;
    // Statistics may have been cleared between them.
    let earlier = before.filter(|before| before.summary.since == now.summary.since);
    let tally = |pick: fn(&Picture) -> Tally| {
        let Tally { packets, octets } = pick(now).since(earlier.map(pick).unwrap_or_default());
        [packets as f64 / seconds, octets as f64 / seconds]
    };
    let records = |picture: &Picture| picture.summary.end_reason.sum();
    let [packets, octets] = tally(|picture| picture.summary.seen);
    let [lost, _] = tally(|picture| picture.summary.lost);
    let interface = |line: &InterfaceLine| {
        let lines = before.map(|before| before.interfaces.interfaces.as_slice()).unwrap_or_default();
        let earlier = lines.iter().find(|earlier| earlier.index == line.index);
        let since = |now: Tally, pick: fn(&InterfaceLine) -> Tally| {
            let Tally { packets, octets } = now.since(earlier.map(pick).unwrap_or_default());
            [packets as f64 / seconds, octets as f64 / seconds]
        };
        (line.index, [since(line.received, |line| line.received), since(line.sent, |line| line.sent)])
    };
    Some(Rates {
        packets,
        octets,
        lost,
        records: records(now).saturating_sub(earlier.map_or(0, records)) as f64 / seconds,
        interfaces: now.interfaces.interfaces.iter().map(interface).collect(),
    })
}

fn seconds_between(from: UnixMillis, to: UnixMillis) -> Option<f64> {
    let millis = to.0.checked_sub(from.0).filter(|millis| *millis > 0)?;
    Some(millis as f64 / 1000.0)
}

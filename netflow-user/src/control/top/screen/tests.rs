//! Frames in windows of several sizes, with the keys that lead to them.

#![allow(clippy::unwrap_used, reason = "tests")]
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};

use super::*;
use crate::{
    control::{
        Cell, Export, Gathered, Interfaces, LedgerAnswer, Summary, Sums, TimingLines, Traffic,
        top::{
            feed::Picture,
            state::{Next, State},
        },
    },
    ledger::{ByReason, Ledger, Tally},
    time::UnixMillis,
};

fn picture(state: &State, seconds: u64) -> Box<Picture> {
    let at = UnixMillis(1_767_225_600_000 + 1000 * seconds);
    let started = UnixMillis(1_767_225_600_000);
    let tally = |packets| Tally { packets, octets: 100 * packets };
    let row = |address: &str, octets| FlowRow {
        key: ByReason::new([("sourceAddress", Cell::Address(address.parse().unwrap()))]),
        flows: 2,
        packets: 10,
        octets,
        bits_per_second: 8 * octets,
        start: started,
        end: at,
    };
    let mut ledger = Ledger::new();
    ledger.join("udp://192.0.2.7:4739");
    Box::new(Picture {
        summary: Summary {
            at,
            started,
            since: started,
            seen: tally(1000 * seconds),
            metered: tally(1000 * seconds),
            lost: tally(0),
            flows_in_cache: 1234,
            unused_in_cache: 5,
            sampled_one_in: 1,
            end_reason: ByReason::new([("idle_timeout", 10 * seconds)]),
            traffic: Traffic::default(),
            timings: TimingLines::default(),
        },
        ledger: LedgerAnswer { at, started, books: ledger.books() },
        export: Export { at, collectors: Vec::new() },
        interfaces: Interfaces {
            at,
            interfaces: vec![InterfaceLine {
                index: 2,
                name: "eth0".to_owned(),
                ingress: Some("native XDP".to_owned()),
                egress: None,
                received: tally(1000 * seconds),
                sent: tally(0),
            }],
        },
        flows: state.view.has_flows().then(|| Gathered {
            at,
            rows: vec![row("10.0.0.1", 3000), row("2001:db8::1", 1000)],
            flows_seen: 4,
            matching: Sums { octets: 4000, ..Sums::default() },
            left_out: Sums::default(),
        }),
        wanted: state.wanted(),
    })
}

fn shown(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    terminal.backend().to_string()
}

fn press(state: &mut State, keys: &str) -> Next {
    let mut next = Next::Draw;
    for key in keys.chars() {
        let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
        next = state.key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    next
}

fn started() -> State {
    let mut state = State::new(false, "");
    state.hear(Ok(picture(&state, 10)));
    state.hear(Ok(picture(&state, 12)));
    state
}

#[test]
fn a_window_of_the_usual_size_has_rates_ledger_and_talkers() {
    let text = shown(&started(), 80, 24);
    for part in [
        "netflow top  talkers by rate  2026-01-01T00:00:12Z  up 12s",
        "1,000 packets/s  800.0 kbit/s  1,234 flows  10 records/s  0 lost",
        "ledger balanced",
        "10.0.0.1     24.0 kbit/s   3,000       10      2  75.0%",
        "2001:db8::1",
        "q quit",
    ] {
        assert!(text.contains(part), "'{part}' is not in\n{text}");
    }
}

#[test]
fn a_window_of_any_size_is_drawn_with_the_most_important_columns() {
    let mut state = started();
    for view in '1'..='7' {
        press(&mut state, &view.to_string());
        state.hear(Ok(picture(&state, 14)));
        for (width, height) in [(1, 1), (2, 2), (5, 3), (10, 4), (20, 5), (40, 10), (79, 23), (300, 100)] {
            shown(&state, width, height);
        }
    }
    press(&mut state, "1");
    state.hear(Ok(picture(&state, 16)));
    let text = shown(&state, 30, 8);
    assert!(text.contains("10.0.0.1") && text.contains("kbit/s") && !text.contains("Share"), "{text}");
}

#[test]
fn keys_switch_sort_filter_pause_and_quit() {
    let mut state = started();
    assert_eq!(press(&mut state, "s"), Next::Ask);
    assert_eq!(state.wanted().flows.unwrap().sort, "octets");
    press(&mut state, "/port=443");
    assert!(shown(&state, 80, 24).contains("filter: port=443"));
    assert_eq!(press(&mut state, "\n"), Next::Ask);
    assert_eq!(state.wanted().flows.unwrap().filter, ["port=443"]);
    press(&mut state, "p");
    assert!(state.wanted().is_paused && shown(&state, 80, 24).contains("PAUSED"));
    press(&mut state, "p6");
    assert!(state.wanted().flows.is_none());
    state.hear(Ok(picture(&state, 14)));
    let text = shown(&state, 80, 24);
    assert!(text.contains("eth0") && text.contains("native XDP"), "{text}");
    press(&mut state, "h");
    assert!(shown(&state, 80, 24).contains("any key closes this"));
    press(&mut state, "h7");
    assert!(
        shown(&state, 80, 24).contains("Packets metered") || shown(&state, 80, 24).contains("The books at")
    );
    assert_eq!(press(&mut state, "q"), Next::Quit);
}

#[test]
fn an_answer_to_another_question_is_not_shown_and_trouble_is() {
    let mut state = started();
    let late = picture(&state, 14);
    press(&mut state, "3");
    state.hear(Ok(late));
    assert!(state.picture.as_ref().unwrap().flows.is_none());
    state.hear(Err("no agent answers".to_owned()));
    assert!(shown(&state, 80, 24).contains("no agent answers"));
}

#[test]
fn without_colour_no_cell_has_one() {
    let mut state = started();
    let mut coloured = |has_colour| {
        state.has_colour = has_colour;
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, &state)).unwrap();
        terminal
            .backend()
            .buffer()
            .content
            .iter()
            .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(coloured(true) && !coloured(false));
}

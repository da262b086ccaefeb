//! `netflow top`: a live view of the running agent on a terminal.
//!
//! A thread asks the agent ([`feed`]); what it says and the keys that are pressed change a [`State`]; a frame is drawn of
//! that ([`screen`]). The terminal is given back however this ends.

mod feed;
mod screen;
mod state;

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::{
    feed::Feed,
    state::{Next, State},
};
use super::ControlError;

/// How long a key, or news, may wait.
const STEP: Duration = Duration::from_millis(100);

/// What is shown, and how.
#[derive(Clone, Debug)]
pub struct Top {
    /// The agent's control socket.
    pub socket: PathBuf,
    /// Between two looks.
    pub interval: Duration,
    /// Whether there are colours.
    pub has_colour: bool,
    /// Conditions to begin with.
    pub filter: String,
}

/// Shows the agent until `q` is pressed.
///
/// # Errors
/// There is no terminal, or no agent at the start.
pub fn top(top: &Top) -> Result<(), ControlError> {
    if !io::stdout().is_terminal() {
        let source = io::Error::other("standard output is none");
        return Err(ControlError::Terminal { source });
    }
    let mut state = State::new(top.has_colour, &top.filter);
    // Before the terminal is taken: that there is no agent is said in a line.
    let feed = Feed::start(&top.socket, top.interval, state.wanted())?;
    let fail = |source| ControlError::Terminal { source };
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(fail)?;
    }
    // A panic gives it back, too.
    let mut terminal = ratatui::try_init().map_err(fail)?;
    let result = run(&mut terminal, &mut state, &feed, &ended);
    ratatui::restore();
    result.map_err(fail)
}

fn run(terminal: &mut DefaultTerminal, state: &mut State, feed: &Feed, ended: &AtomicBool) -> io::Result<()> {
    while !ended.load(Ordering::Relaxed) {
        terminal.draw(|frame| screen::draw(frame, state))?;
        if event::poll(STEP)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match state.key(key) {
                    Next::Quit => return Ok(()),
                    Next::Ask => feed.want(state.wanted()),
                    Next::Draw => {}
                },
                _ => {}
            }
        }
        feed.news().for_each(|news| state.hear(news));
    }
    Ok(())
}

//! Asks the agent at an interval, or at once when something else is wanted, on a thread of its own: keys never wait for an
//! answer.

use std::{
    path::Path,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use crate::control::{
    ControlError, Export, FlowQuery, Gathered, Interfaces, LedgerAnswer, Request, Summary, client::ask,
};

/// What is to be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The flows that are wanted besides.
    pub flows: Option<FlowQuery>,
    /// Nothing is, for now.
    pub is_paused: bool,
}

/// What the agent said.
#[derive(Clone, Debug)]
pub struct Picture {
    pub summary: Summary,
    pub ledger: LedgerAnswer,
    pub export: Export,
    pub interfaces: Interfaces,
    pub flows: Option<Gathered>,
    /// What was asked for.
    pub wanted: Wanted,
}

/// A picture, or why there is none in one line.
pub type News = Result<Box<Picture>, String>;

/// The thread's ends.
pub struct Feed {
    wants: Sender<Wanted>,
    news: Receiver<News>,
}

impl Feed {
    /// Asks once, to see that somebody answers, and then at the interval.
    ///
    /// # Errors
    /// Nobody does.
    pub fn start(socket: &Path, interval: Duration, wanted: Wanted) -> Result<Self, ControlError> {
        ask::<Summary>(socket, &Request::ShowSummary)?;
        let (wants, wanting) = mpsc::channel();
        let (telling, news) = mpsc::channel();
        let socket = socket.to_owned();
        let feeding = thread::Builder::new()
            .name("asking".to_owned())
            .spawn(move || feed(&socket, interval, wanted, &wanting, &telling));
        feeding.map_err(|source| ControlError::Terminal { source })?;
        Ok(Self { wants, news })
    }

    /// Something else is wanted from now on.
    pub fn want(&self, wanted: Wanted) {
        // The thread ends with this value only.
        let _ = self.wants.send(wanted);
    }

    /// What came since the last look.
    pub fn news(&self) -> impl Iterator<Item = News> {
        self.news.try_iter()
    }
}

fn feed(
    socket: &Path,
    interval: Duration,
    mut wanted: Wanted,
    wanting: &Receiver<Wanted>,
    telling: &Sender<News>,
) {
    loop {
        if !wanted.is_paused {
            let news = picture(socket, &wanted).map(Box::new).map_err(|error| error.to_string());
            if telling.send(news).is_err() {
                return;
            }
        }
        match wanting.recv_timeout(interval) {
            // Of several the last one counts.
            Ok(other) => wanted = wanting.try_iter().last().unwrap_or(other),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn picture(socket: &Path, wanted: &Wanted) -> Result<Picture, ControlError> {
    let flows = match &wanted.flows {
        Some(query) => Some(ask(socket, &Request::ShowFlows(query.clone()))?.1),
        None => None,
    };
    Ok(Picture {
        summary: ask(socket, &Request::ShowSummary)?.1,
        ledger: ask(socket, &Request::ShowLedger)?.1,
        export: ask(socket, &Request::ShowExport)?.1,
        interfaces: ask(socket, &Request::ShowInterfaces)?.1,
        flows,
        wanted: wanted.clone(),
    })
}

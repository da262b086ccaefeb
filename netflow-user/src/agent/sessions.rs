//! The sessions that there are, one for each destination, and how they become others while records come.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tracing::info;

use super::{
    AgentError,
    asked::AskedCollector,
    batch::Batch,
    control::{Command, Control},
    queue::Queue,
    session::{Outlet, Pacing, Session, Surroundings, Tempo},
};
use crate::{
    config::ExportConfig,
    kernel::SessionSocket,
    ledger::{Ledger, Registrar},
    record::anonymisation::Policy,
    transport::{JsonTarget, Target},
};

/// All sessions.
pub(super) struct Sessions {
    /// In the order of the destinations.
    live: Vec<Live>,
    /// Those that send what they have and end.
    leaving: Vec<JoinHandle<()>>,
    surroundings: Surroundings,
    registrar: Registrar,
    /// Nobody waits for those that leave any longer.
    hurry: watch::Sender<bool>,
}

struct Live {
    target: Target,
    outlet: Outlet,
}

/// Sessions that are there and those that are to come, for a configuration.
pub(super) struct Prepared {
    places: Vec<Place>,
}

enum Place {
    /// The one that is there, by its place.
    Same(usize),
    /// A new one, which begins when it is told to.
    New(Box<Live>, oneshot::Sender<()>),
}

impl Sessions {
    /// Opens all of them; they begin at once.
    ///
    /// # Errors
    /// One cannot be opened.
    pub(super) async fn start(
        destinations: &[Target],
        config: &ExportConfig,
        surroundings: Surroundings,
        ledger: &mut Ledger,
    ) -> Result<Self, AgentError> {
        let mut live = Vec::new();
        for target in destinations {
            let books = ledger.join(target.to_string());
            let (_, at_once) = oneshot::channel();
            let outlet = Session::start(target, config, &surroundings, books, at_once).await?;
            live.push(Live { target: target.clone(), outlet });
        }
        let (registrar, hurry) = (ledger.registrar(), watch::Sender::new(false));
        Ok(Self { live, leaving: Vec::new(), surroundings, registrar, hurry })
    }

    /// Their queues, in the order of the destinations.
    pub(super) fn queues(&self) -> Vec<Arc<Queue>> {
        self.live.iter().map(|live| Arc::clone(&live.outlet.queue)).collect()
    }

    /// What is asked of them.
    pub(super) fn asked(&self) -> Vec<AskedCollector> {
        self.live.iter().map(|live| AskedCollector::of(&live.outlet)).collect()
    }

    /// The sockets that they have now.
    pub(super) fn sockets(&self) -> impl Iterator<Item = SessionSocket> {
        self.live.iter().filter_map(|live| live.outlet.socket)
    }

    /// How fast records go.
    pub(super) fn pacing(&self) -> Pacing {
        self.surroundings.pacing
    }

    /// Opens what another configuration needs beside what is there, and changes nothing yet.
    ///
    /// # Errors
    /// A collector cannot be reached, or writes where one writes that is there: nothing has changed.
    pub(super) async fn prepare(
        &mut self,
        before: &ExportConfig,
        after: &ExportConfig,
    ) -> Result<Prepared, AgentError> {
        let mut places: Vec<Place> = Vec::new();
        for target in &after.destinations {
            let is_taken =
                |at: usize| places.iter().any(|place| matches!(place, Place::Same(same) if *same == at));
            let same = self.live.iter().enumerate().position(|(at, live)| {
                live.target == *target && !is_taken(at) && before.is_same_session(after, target)
            });
            match same {
                Some(at) => places.push(Place::Same(at)),
                None => match self.open(target, after).await {
                    Ok((live, begin)) => places.push(Place::New(Box::new(live), begin)),
                    Err(error) => {
                        Prepared { places }.forget().await;
                        return Err(error);
                    }
                },
            }
        }
        Ok(Prepared { places })
    }

    async fn open(
        &mut self,
        target: &Target,
        config: &ExportConfig,
    ) -> Result<(Live, oneshot::Sender<()>), AgentError> {
        if let Some(place) = writes_to(target)
            && let Some(other) =
                self.live.iter().find(|live| writes_to(&live.target).as_ref() == Some(&place))
        {
            return Err(AgentError::StillWriting {
                collector: target.to_string(),
                other: other.target.to_string(),
                place,
            });
        }
        let books = self.registrar.open(target.to_string());
        let (begin, may_begin) = oneshot::channel();
        let outlet = Session::start(target, config, &self.surroundings, books, may_begin).await?;
        if let (Some(control), Some(_)) = (&self.surroundings.control, outlet.socket) {
            // No message of it may be seen before the kernel knows whose it is.
            let (done, is_done) = oneshot::channel();
            control.send(Command::Own { opened: outlet.socket, closed: None, done });
            let _ = is_done.await;
        }
        Ok((Live { target: target.clone(), outlet }, begin))
    }

    /// What was prepared is in force: records go to these sessions, their addresses by `anonymisation` where that is not as
    /// it was, and the others end when they have sent what they have.
    pub(super) async fn change(
        &mut self,
        prepared: Prepared,
        config: &ExportConfig,
        pacing: Pacing,
        anonymisation: Option<Option<Policy>>,
        control: &Control,
    ) {
        self.surroundings.pacing = pacing;
        let mut before: Vec<Option<Live>> = std::mem::take(&mut self.live).into_iter().map(Some).collect();
        for place in prepared.places {
            match place {
                Place::Same(at) => self.live.extend(before.get_mut(at).and_then(Option::take)),
                Place::New(live, begin) => {
                    let _ = begin.send(());
                    self.live.push(*live);
                }
            }
        }
        for live in &self.live {
            let tempo = Tempo { export: config.of(&live.target), pacing };
            live.outlet.queue.offer(Batch::of_tempo(Arc::new(tempo)));
        }
        let (done, is_done) = oneshot::channel();
        let groups = config.collector_groups.clone();
        control.send(Command::Arrange { queues: self.queues(), groups, anonymisation, done });
        // From then on nothing is given to the others. It is not done where nothing is metered any more.
        let _ = is_done.await;
        self.leaving.retain(|leaving| !leaving.is_finished());
        for Live { target, outlet } in before.into_iter().flatten() {
            info!("collector {target} is asked for no longer, or otherwise: it gets what it was given");
            let patience = super::patience(outlet.queue.records(), pacing);
            self.leaving.push(tokio::spawn(outlet.finish(patience, self.hurry.subscribe())));
        }
    }

    /// Lets all of them send what they have, until `patience` is over or `hurry` says so.
    pub(super) async fn finish(self, patience: Duration, hurry: &watch::Receiver<bool>) {
        let mut hurried = hurry.clone();
        let hurrying = tokio::spawn(async move {
            if hurried.wait_for(|hurry| *hurry).await.is_ok() {
                self.hurry.send_replace(true);
            }
            // Who waits for it must not hear that it is gone.
            std::future::pending::<()>().await;
        });
        // All at once: one that takes nothing must not take the others' time.
        join_all(self.live.into_iter().map(|live| live.outlet.finish(patience, hurry.clone()))).await;
        join_all(self.leaving).await;
        hurrying.abort();
    }
}

impl Prepared {
    /// It is not to be: what was opened is closed, without a record.
    async fn forget(self) {
        let (_never, hurry) = watch::channel(false);
        for place in self.places {
            if let Place::New(live, begin) = place {
                // It ends only after it was let begin.
                drop(begin);
                live.outlet.finish(Duration::ZERO, hurry.clone()).await;
            }
        }
    }
}

/// Where a destination writes on disk, or standard output: which no two may do at once.
fn writes_to(target: &Target) -> Option<PathBuf> {
    match target {
        Target::File(files) | Target::Json(JsonTarget::Files(files)) => Some(files.prefix.clone()),
        Target::Json(JsonTarget::Stdout) => Some("standard output".into()),
        // A spool has a directory for each collector.
        Target::Collector(_) => {
            let directory = target.spool()?.directory.as_ref()?;
            Some(directory.join(target.to_string()))
        }
    }
}

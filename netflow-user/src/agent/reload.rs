//! A configuration that has changed, applied while the agent runs: no flow, no template id and no sequence number is lost by
//! what has nothing to do with it.
//!
//! Everything is prepared before anything changes: a configuration that cannot be applied leaves all as it was.

use std::sync::Arc;

use clap::ValueEnum as _;
use tokio::{
    signal::unix::Signal,
    sync::mpsc::{Receiver, UnboundedSender},
};
use tracing::{error, info};

use super::{
    AgentError,
    asked::{Asked, Reload},
    control::{Alteration, Command, Control},
    error::chain,
    follow_routes,
    interfaces::{Wish, direction_of, selection_of},
    ledger_file::LedgerFile,
    overload::Overload,
    pacing, service,
    sessions::Sessions,
};
use crate::{
    config::{Changed, RunConfig, Sources},
    interface::Selection,
    log::{self, Level},
    privileges::Needs,
    route::Follower,
};

/// Options that are applied at once.
const AT_ONCE: [&str; 26] = [
    "active-timeout",
    "anonymisation-key",
    "anonymise",
    "cache-size",
    "collector",
    "collector-mode",
    "drain-interval",
    "end-linger",
    "exclude-interface",
    "export-rate",
    "exporter-name",
    "idle-timeout",
    "interface",
    "interface-table",
    "ledger-file",
    "log-level",
    "message-size",
    "observation-domain",
    "on-overload",
    "options-refresh",
    "protocol",
    "routes",
    "sampling",
    "statistics-interval",
    "template-refresh",
    "template-refresh-packets",
];

/// What a reload has to do with.
pub(super) struct Reloader<'a> {
    pub(super) sources: Sources,
    /// As it is in force.
    pub(super) config: RunConfig,
    /// What it reached at the start, beyond which it cannot.
    pub(super) reach: Needs,
    pub(super) sessions: &'a mut Sessions,
    /// Who follows the routing tables.
    pub(super) routes: &'a mut Option<Follower>,
    pub(super) control: &'a Arc<Control>,
    pub(super) wishes: UnboundedSender<Wish>,
    /// Who answers what sessions there are.
    pub(super) asked: &'a Asked,
}

impl Reloader<'_> {
    /// Reads the configuration again whenever the signal comes, or somebody asks for it; does not end.
    pub(super) async fn follow(&mut self, mut signal: Signal, mut asked: Receiver<Reload>) {
        loop {
            let done = tokio::select! {
                Some(()) = signal.recv() => None,
                Some(Reload { done }) = asked.recv() => Some(done),
            };
            service::reloading();
            let result = self.reload().await;
            service::ready("metering");
            match &result {
                Ok(lines) => info!("configuration: {}", lines.join("; ")),
                Err(why) => error!("the configuration stays as it was: {why}"),
            }
            if let Some(done) = done {
                // Who asked may have gone.
                let _ = done.send(result);
            }
        }
    }

    /// Reads it again and applies what has changed. Returns what was done.
    async fn reload(&mut self) -> Result<Vec<String>, String> {
        let reread = self.sources.read()?;
        if reread.changed.is_empty() {
            return Ok(vec!["nothing has changed".to_owned()]);
        }
        check(&self.config, &reread.config, &reread.changed)?;
        if let Some(path) = self.reach.lack(&reread.config.needs()) {
            return Err(format!("{} was not named at the start, which it takes to reach it", path.display()));
        }
        let selection = selection_of(&reread.config).await.map_err(|error| chain(&error))?;
        self.check_direction(&reread.config, &selection).await?;
        self.apply(&reread.config, selection).await.map_err(|error| chain(&error))?;
        let level = reread.changed.iter().find(|changed| changed.option == "log-level");
        if let Some(level) = level.and_then(|level| Level::from_str(level.to.first()?, false).ok()) {
            log::set_level(level)?;
        }
        self.sources.accept(&reread);
        self.config = reread.config;
        Ok(reread.changed.iter().map(ToString::to_string).collect())
    }

    /// The same direction has to be right for other interfaces.
    async fn check_direction(&self, after: &RunConfig, selection: &Selection) -> Result<(), String> {
        let before = selection_of(&self.config).await.map_err(|error| chain(&error))?;
        let [before, after] = [
            direction_of(after, &before).await.map_err(|error| chain(&error))?,
            direction_of(after, selection).await.map_err(|error| chain(&error))?,
        ];
        match before == after {
            true => Ok(()),
            false => Err("these interfaces would be metered in another direction, which needs a restart, or the one that is in force by --direction".to_owned()),
        }
    }

    async fn apply(&mut self, after: &RunConfig, selection: Selection) -> Result<(), AgentError> {
        let before = &self.config;
        let ledger_file = match before.ledger_file == after.ledger_file {
            true => None,
            false => Some(after.ledger_file.as_deref().map(LedgerFile::open).transpose()?),
        };
        let routes = match before.routes == after.routes {
            true => None,
            false => Some(follow_routes(after.routes).await?.unzip()),
        };
        let prepared = self.sessions.prepare(&before.export, &after.export).await?;

        // From here on nothing fails.
        let routes = routes.map(|(routes, follower)| {
            *self.routes = follower;
            self.asked.set_routes(routes.clone());
            routes
        });
        let sampling = |config: &RunConfig| (config.on_overload, config.load.measure.sampling_interval);
        let alteration = Alteration {
            timeouts: (before.flows.timeouts != after.flows.timeouts).then_some(after.flows.timeouts),
            cache_size: (before.flows.cache_size != after.flows.cache_size).then_some(after.flows.cache_size),
            drain_interval: (before.drain_interval != after.drain_interval).then_some(after.drain_interval),
            overload: (sampling(before) != sampling(after))
                .then(|| Overload::new(after.on_overload, after.load.measure.sampling_interval)),
            routes,
            ledger_file,
        };
        self.control.send(Command::Alter(Box::new(alteration)));
        // Whatever is asked meanwhile is answered by the stricter one.
        let is_anonymised = [before, after].map(|config| config.anonymisation.is_some());
        self.asked.set_anonymised(is_anonymised.contains(&true));
        let anonymisation =
            (before.anonymisation != after.anonymisation).then(|| after.anonymisation.clone());
        let tempo = pacing(after);
        self.sessions.change(prepared, &after.export, tempo, anonymisation, self.control).await;
        self.asked.set_anonymised(is_anonymised[1]);
        self.asked.set_collectors(self.sessions.asked());
        // Whoever follows the interfaces ends with the agent alone.
        let _ = self.wishes.send(Wish { selection, table: after.export.interface_table });
        Ok(())
    }
}

/// What cannot be applied while it runs.
fn check(before: &RunConfig, after: &RunConfig, changed: &[Changed]) -> Result<(), String> {
    let mut others: Vec<&str> = Vec::new();
    for Changed { option, .. } in changed {
        let is_possible = match option.as_str() {
            "sampling" | "on-overload" => before.load.measure.sampling == after.load.measure.sampling,
            option => AT_ONCE.contains(&option),
        };
        if !is_possible {
            others.push(option);
        }
    }
    if before.export.destinations.is_empty() != after.export.destinations.is_empty() {
        others.push("collector (the built-in one)");
    }
    if before.load.own_connections != after.load.own_connections {
        others.push("collector (the first or last one over a connection, without --exclude-own-export off)");
    }
    match others.is_empty() {
        true => Ok(()),
        false => Err(format!("{} can only change with a restart", others.join(", "))),
    }
}

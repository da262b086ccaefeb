//! The built-in collector as a part of the agent: there is one where no other was given.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::{sync::watch, task::JoinHandle};
use tracing::{info, warn};

use super::{AgentError, PATIENCE};
use crate::{
    clock,
    collect::{self, CollectError, Listener, Summary},
    config::ExportConfig,
    interface::Interfaces,
    transport::{Destination, Target},
};

/// The built-in collector: there is one where no other was given.
pub(super) struct Collector {
    listener: Option<Listener>,
    serving: Option<Serving>,
    result: Option<Result<Summary, CollectError>>,
    address: Option<SocketAddr>,
}

struct Serving {
    task: JoinHandle<Result<Summary, CollectError>>,
    stop: watch::Sender<bool>,
}

impl Collector {
    /// Listens where it is needed; what arrives before [`Collector::serve`] waits.
    pub(super) async fn open(export: &ExportConfig) -> Result<Self, AgentError> {
        if !export.destinations.is_empty() {
            return Ok(Self { listener: None, serving: None, result: None, address: None });
        }
        Interfaces::open()?.require_loopback().await?;
        let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        // Its options data are about the agent that prints them.
        Ok(Self::on(listener.without_options()))
    }

    pub(super) fn on(listener: Listener) -> Self {
        let address = Some(listener.address());
        Self { listener: Some(listener), serving: None, result: None, address }
    }

    /// Begins to print.
    pub(super) fn serve(&mut self, format: collect::Format) {
        if let Some(listener) = self.listener.take() {
            let (stop, stopped) = watch::channel(false);
            let clock = || clock::now().monotonic;
            let task = tokio::spawn(collect::run(listener, format, stopped, io::stdout(), clock));
            self.serving = Some(Serving { task, stop });
        }
    }

    /// Where to export: what was given, or the built-in collector.
    pub(super) fn destinations(&self, export: &ExportConfig) -> Vec<Target> {
        match self.address {
            Some(address) if export.destinations.is_empty() => {
                let host = address.ip().to_string();
                vec![Target::Collector(Box::new(Destination::udp(host, address.port(), export.protocol)))]
            }
            _ => export.destinations.clone(),
        }
    }

    /// Completes when it ends by itself: the reader of its output has left, or it failed.
    pub(super) async fn ended(&mut self) {
        match &mut self.serving {
            Some(serving) => {
                let result = (&mut serving.task).await;
                self.serving = None;
                self.result = result.ok();
            }
            None => std::future::pending().await,
        }
    }

    /// Whether it has ended by itself.
    pub(super) fn has_left(&self) -> bool {
        self.address.is_some() && self.listener.is_none() && self.serving.is_none()
    }

    /// Lets it take what has been sent, and ends it.
    pub(super) async fn finish(mut self) -> Result<(), AgentError> {
        if let Some(Serving { task, stop }) = self.serving.take() {
            let _ = stop.send(true);
            match tokio::time::timeout(PATIENCE, task).await {
                Ok(result) => self.result = result.ok(),
                Err(_) => warn!("standard output takes nothing: flows were not printed"),
            }
        }
        match self.result {
            Some(Ok(summary)) => {
                info!("collector: {summary}");
                say_not_decoded(&summary);
            }
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
        Ok(())
    }
}

/// Lines about what could not be decoded.
const SAID: usize = 20;

/// Says what could not be decoded, whose it was and why.
pub(super) fn say_not_decoded(summary: &Summary) {
    let lines = summary.not_decoded();
    lines.iter().take(SAID).for_each(|line| warn!("not decoded: {line}"));
    if let Some(further) = lines.len().checked_sub(SAID).filter(|&further| further > 0) {
        warn!("not decoded: {further} further lines of this kind");
    }
}

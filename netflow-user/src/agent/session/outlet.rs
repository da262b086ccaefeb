//! The meter's end of a session: its queue, and how it is ended.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};

use super::about::About;
use crate::{agent::queue::Queue, kernel::SessionSocket};

/// The meter's end of a session.
pub(in crate::agent) struct Outlet {
    pub(in crate::agent) queue: Arc<Queue>,
    /// Its socket, where it has one at once.
    pub(in crate::agent) socket: Option<SessionSocket>,
    /// What is shown of it.
    pub(in crate::agent) about: About,
    pub(super) abandon: Arc<Notify>,
    pub(super) task: tokio::task::JoinHandle<()>,
}

impl Outlet {
    /// Lets the session send what it has, at most until `patience` is over or `hurry` says so; what is left then
    /// is counted as not sent for reason `shutdown`.
    pub(in crate::agent) async fn finish(mut self, patience: Duration, mut hurry: watch::Receiver<bool>) {
        self.queue.close();
        let ended = tokio::select! {
            result = tokio::time::timeout(patience, &mut self.task) => result.is_ok(),
            Ok(_) = hurry.wait_for(|hurry| *hurry) => false,
        };
        if !ended {
            self.abandon.notify_one();
            // It ends at its next await point, and has the books to close.
            let _ = self.task.await;
        }
    }
}

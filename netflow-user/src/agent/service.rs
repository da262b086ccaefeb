//! What systemd is told (sd_notify(3)): that the agent is ready, reloads, stops, and that its flips go on. Where there is no
//! service manager, nothing is.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

use super::status::Statuses;

/// Packets are metered.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is read again; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => debug!("no monotonic time for the service manager: {error}"),
    }
}

/// It is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Feeds the watchdog for as long as flips go on: a metering thread that hangs is one that does not meter. Does not end.
pub(super) async fn watch(mut statuses: Statuses) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    // Each flip feeds it, but not more often than it is needed.
    let pause = (patience / 4).max(Duration::from_millis(10));
    while statuses.changed().await.is_ok() {
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(pause).await;
    }
    std::future::pending().await
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!("the service manager is not told: {error}");
    }
}

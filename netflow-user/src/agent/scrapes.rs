//! Metrics: where they are served, and what they are made of.

use tracing::{info, warn};

use super::{AgentError, Statuses, chain, interfaces::Metered};
use crate::{config::MetricsConfig, interface::Interfaces, metrics};

/// Takes the address at which metrics are served. That the usual one is taken does not keep the agent from starting.
pub(super) fn listen(config: Option<MetricsConfig>) -> Result<Option<metrics::Listener>, AgentError> {
    let Some(MetricsConfig { address, is_required }) = config else { return Ok(None) };
    match metrics::Listener::open(address).map_err(|source| AgentError::Metrics { address, source }) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if is_required => Err(error),
        Err(error) => {
            warn!("{}", chain(&error));
            Ok(None)
        }
    }
}

/// Serves what the agent shows of itself.
pub(super) fn serve(
    listener: metrics::Listener,
    statuses: Statuses,
    metered: &Metered,
) -> Result<metrics::Server, AgentError> {
    info!("metrics are at http://{}/metrics", listener.address());
    Ok(listener.serve(statuses, metered.shown(), Interfaces::open()?))
}

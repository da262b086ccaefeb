//! Where metrics are served.

use std::net::SocketAddr;

use super::ConfigError;
use crate::metrics::DEFAULT_ADDRESS;

/// `--metrics`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetricsConfig {
    /// Where.
    pub address: SocketAddr,
    /// The operator asked for it: that it cannot be had is an error.
    pub is_required: bool,
}

impl MetricsConfig {
    /// Decides; `None` is that nothing is served.
    pub(super) fn new(given: Option<&str>) -> Result<Option<Self>, ConfigError> {
        match given {
            None => Ok(Some(Self { address: DEFAULT_ADDRESS, is_required: false })),
            Some("off") => Ok(None),
            Some(given) => match given.parse() {
                Ok(address) => Ok(Some(Self { address, is_required: true })),
                Err(_) => Err(ConfigError::Metrics { given: given.to_owned() }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn metrics_are_at_an_address_and_a_port_or_off() {
        let at = |given| MetricsConfig::new(given).unwrap();
        assert_eq!(at(Some("off")), None);
        assert!(!at(None).unwrap().is_required && at(None).unwrap().address.ip().is_loopback());
        let given = at(Some("[::1]:9")).unwrap();
        assert_eq!((given.address.to_string().as_str(), given.is_required), ("[::1]:9", true));
        for given in ["", "on", "14739", "localhost:14739", "127.0.0.1", "127.0.0.1:65536"] {
            let error = MetricsConfig::new(Some(given)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--metrics '{given}' is not possible")), "{error}");
        }
    }
}

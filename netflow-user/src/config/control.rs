//! What is asked of the running agent, and where that answers.

use std::{path::PathBuf, time::Duration};

use crate::{cli, control};

/// A question to the running agent.
#[derive(Clone, Debug)]
pub struct AskConfig {
    /// The agent's control socket.
    pub socket: PathBuf,
    /// Print the answer as JSON.
    pub is_json: bool,
    /// What is asked.
    pub request: control::Request,
}

impl AskConfig {
    /// `netflow show`.
    pub fn show(show: cli::Show) -> Self {
        use cli::ShowCommand as What;
        use control::Request;
        let (asking, request) = match show.what {
            What::Ledger(asking) => (asking, Request::ShowLedger),
            What::Summary(asking) => (asking, Request::ShowSummary),
            What::Export(asking) => (asking, Request::ShowExport),
            What::Interfaces(asking) => (asking, Request::ShowInterfaces),
            What::Templates(asking) => (asking, Request::ShowTemplates),
            What::Flows(flows) => {
                let cli::ShowFlows { filter, sort, top, aggregate, asking } = flows;
                (asking, Request::ShowFlows(control::FlowQuery { filter, sort, top, aggregate }))
            }
        };
        Self::new(asking, request)
    }

    /// `netflow top`.
    pub fn top(top: cli::Top) -> control::Top {
        // https://no-color.org: present, and not empty.
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        control::Top {
            socket: top.control_socket,
            interval: top.interval.clamp(Duration::from_millis(100), Duration::from_secs(3600)),
            has_colour: !top.no_colour && !no_color,
            filter: top.filter,
        }
    }

    /// `netflow explain`.
    pub fn explain(explain: cli::Explain) -> Self {
        Self::new(explain.asking, control::Request::Explain { address: explain.address })
    }

    /// `netflow expire`.
    pub fn expire(expire: cli::Expire) -> Self {
        let address = (expire.which != "all").then_some(expire.which);
        Self::new(expire.asking, control::Request::Expire { address })
    }

    /// `netflow clear`.
    pub fn clear(clear: cli::Clear) -> Self {
        let cli::ClearCommand::Statistics(asking) = clear.what;
        Self::new(asking, control::Request::ClearStatistics)
    }

    /// `netflow send-templates`.
    pub fn send_templates(asking: cli::Asking) -> Self {
        Self::new(asking, control::Request::SendTemplates)
    }

    /// `netflow reload`.
    pub fn reload(asking: cli::Asking) -> Self {
        Self::new(asking, control::Request::Reload)
    }

    /// `netflow log-level`.
    pub fn log_level(set: cli::SetLogLevel) -> Self {
        Self::new(set.asking, control::Request::LogLevel { level: set.level })
    }

    fn new(asking: cli::Asking, request: control::Request) -> Self {
        Self { socket: asking.control_socket, is_json: asking.json, request }
    }
}

/// Where the agent answers.
pub(super) fn place(socket: Option<PathBuf>) -> control::Place {
    match socket {
        None => control::Place::Default,
        Some(path) if path.as_os_str() == "off" || path.as_os_str() == "none" => control::Place::None,
        Some(path) => control::Place::At(path),
    }
}

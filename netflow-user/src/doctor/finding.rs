//! What the doctor says: one line for each thing looked at, with the remedy as a command.

use std::{fmt, io};

use serde::Serialize;

/// How something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It could not be looked at.
    Unknown,
    /// The agent works, but not as well as it could, or not for long.
    Warning,
    /// The agent does not work like this.
    Fault,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// How it is.
    pub verdict: Verdict,
    /// What was looked at: a part of the host, an interface, a collector.
    pub subject: String,
    /// What was found, in one line.
    pub text: String,
    /// What to do about it: a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn new(verdict: Verdict, subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self { verdict, subject: subject.into(), text: text.into(), remedy: None }
    }

    /// It is as it should be.
    pub(super) fn ok(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, subject, text)
    }

    /// It could not be looked at.
    pub(super) fn unknown(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, subject, text)
    }

    /// It could be better.
    pub(super) fn warning(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, subject, text)
    }

    /// It does not work.
    pub(super) fn fault(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Verdict::Fault, subject, text)
    }

    /// What to do about it.
    pub(super) fn with(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// All findings, in the order in which they were made.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many are of a kind.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// Writes it as JSON.
    pub(super) fn write_json(&self, mut out: impl io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut out, self)?;
        writeln!(out)
    }
}

/// A line for each, the remedy under it, and a last line that counts.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.findings.iter().map(|finding| finding.subject.chars().count()).max().unwrap_or(0);
        for Finding { verdict, subject, text, remedy } in &self.findings {
            let verdict = match verdict {
                Verdict::Ok => "ok",
                Verdict::Unknown => "unknown",
                Verdict::Warning => "WARNING",
                Verdict::Fault => "FAULT",
            };
            // Names and answers of others may hold anything.
            writeln!(f, "{verdict:7}  {subject:width$}  {}", text.replace(char::is_control, " "))?;
            if let Some(remedy) = remedy {
                writeln!(f, "{:7}  {:width$}  -> {}", "", "", remedy.replace(char::is_control, " "))?;
            }
        }
        let [ok, unknown, warnings, faults] =
            [Verdict::Ok, Verdict::Unknown, Verdict::Warning, Verdict::Fault]
                .map(|verdict| self.count(verdict));
        let of = |count, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (faults, warnings) = (of(faults, "fault"), of(warnings, "warning"));
        write!(f, "{faults}, {warnings}, {ok} ok, {unknown} could not be looked at")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_remedy_the_next() {
        let findings = vec![
            Finding::ok("kernel", "Linux 6.18"),
            Finding::warning("eth0", "merges packets").with("ethtool -K eth0 lro off"),
            Finding::fault("collector x", "refused\nit"),
        ];
        let report = Report { findings };
        assert_eq!(
            report.to_string(),
            "ok       kernel       Linux 6.18\n\
             WARNING  eth0         merges packets\n\
             \u{20}                     -> ethtool -K eth0 lro off\n\
             FAULT    collector x  refused it\n\
             1 fault, 1 warning, 1 ok, 0 could not be looked at"
        );
        let mut json = Vec::new();
        report.write_json(&mut json).expect("memory takes it");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json["findings"][1]["remedy"], "ethtool -K eth0 lro off");
        assert_eq!(
            (&json["findings"][0]["verdict"], json["findings"][0].get("remedy")),
            (&"ok".into(), None)
        );
    }
}

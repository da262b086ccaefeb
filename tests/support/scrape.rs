//! The agent's metrics, as a scraper gets them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::lab::Namespace;

const PATIENCE: Duration = Duration::from_secs(30);

/// One scrape.
#[derive(Debug)]
pub struct Scrape {
    /// As it came.
    pub text: String,
    /// Values as they stand there, by name and labels.
    series: BTreeMap<String, String>,
}

impl Scrape {
    /// Gets `/metrics` of an agent in this namespace, in the text that every scraper reads.
    pub fn get(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let answer = namespace.enter(|| ask(address, "GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n"))??;
        let (head, text) = answer.split_once("\r\n\r\n").with_context(|| format!("no answer: {answer}"))?;
        ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let series = samples.filter_map(|line| line.rsplit_once(' '));
        let series = series.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Self { text: text.to_owned(), series })
    }

    /// The value of a series, a counter or a gauge, by its name without `_total` and its labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<&str> {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let found = ["_total", ""].iter().find_map(|end| self.series.get(&format!("{name}{end}{labels}")));
        found.map(String::as_str).with_context(|| format!("no {name}{labels} in\n{}", self.text))
    }

    /// The sum of all series of this whole name.
    pub fn sum(&self, name: &str) -> u64 {
        let with = |series: &&String| series.split('{').next() == Some(name);
        let values = self.series.iter().filter(|(series, _)| with(series));
        values.filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
    }
}

/// Sends a request and returns all that comes until the other end closes.
pub fn ask(address: SocketAddr, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

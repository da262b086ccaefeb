//! What needs the flow cache, piece by piece, and what is done by command.

use std::{collections::HashSet, sync::Arc};

use tokio::sync::oneshot;

use super::{Asked, ENDING, Reload, Status, lock};
use crate::{
    agent::{batch::Records, control::Command},
    control::{Explanation, ExportedRow, Filter, FlowQuery, Gathered, Gathering, Prefix, row},
    ledger::ByReason,
    record::FlowRecord,
};

/// Rows of an explanation.
const EXPLAINED: usize = 10;

impl Asked {
    /// The flows in the cache that are asked for.
    pub(super) async fn flows(&self, query: &FlowQuery) -> Result<Gathered, String> {
        let status = self.status().await?;
        let gathering = Gathering::new(query, status.at).map_err(|error| error.to_string())?;
        self.gather(gathering).await
    }

    async fn gather(&self, mut gathering: Gathering) -> Result<Gathered, String> {
        let _turn = self.looks.acquire().await.map_err(|_| ENDING.to_owned())?;
        let routes = lock(&self.routes).clone().filter(|_| gathering.needs_routes());
        let (mut from, mut flows) = (0, Vec::new());
        loop {
            let (done, piece) = oneshot::channel();
            self.control.send(Command::Look { from, flows, done });
            let mut piece = piece.await.map_err(|_| ENDING.to_owned())?;
            if let Some(routes) = &routes {
                routes.fill(&mut piece.flows);
            }
            gathering.look(&piece.flows);
            match piece.next {
                None => return Ok(gathering.finish()),
                Some(next) => (from, flows) = (next, piece.flows),
            }
        }
    }

    /// What is known of an address.
    pub(super) async fn explain(&self, address: &str) -> Result<Explanation, String> {
        let prefix: Prefix = address.parse().map_err(|_| format!("'{address}' is no address"))?;
        let status = self.status().await?;
        let cached = self.gather(Gathering::of_host(prefix, EXPLAINED, status.at)).await?;
        let (done, recent) = oneshot::channel();
        self.control.send(Command::Recent { done });
        let recent = recent.await.map_err(|_| ENDING.to_owned())?;
        let (exported, exported_matching) =
            if self.is_anonymised() { (Vec::new(), 0) } else { exported(&recent, prefix, &status) };
        Ok(Explanation {
            address: prefix.to_string(),
            cached,
            exported,
            exported_matching,
            records_kept: recent.iter().map(|list| list.len() as u64).sum(),
            is_anonymised: self.is_anonymised(),
            not_metered: not_metered(&status),
            sampled_one_in: status.sampled_one_in,
            interfaces: status.interfaces.clone(),
        })
    }

    /// Ends flows, of an address or all.
    pub(super) async fn expire(&self, address: Option<&str>) -> Result<Vec<String>, String> {
        let of = match address {
            None => None,
            Some(text) => Some(text.parse::<Prefix>().map_err(|_| format!("'{text}' is no address"))?),
        };
        // The first piece begins with a flip: one after the other.
        let _turn = self.expiry.acquire().await.map_err(|_| ENDING.to_owned())?;
        let (mut from, mut ended) = (0, 0);
        loop {
            let (done, piece) = oneshot::channel();
            self.control.send(Command::Expire { from, of, done });
            let piece = piece.await.map_err(|_| ENDING.to_owned())?;
            ended += piece.flows;
            match piece.next {
                Some(next) => from = next,
                None => {
                    let whose = of.map_or_else(String::new, |prefix| format!(" of {prefix}"));
                    return Ok(vec![format!("{ended} flows{whose} ended")]);
                }
            }
        }
    }

    /// Statistics are shown from now on as of now.
    pub(super) async fn clear(&self) -> Result<Vec<String>, String> {
        let status = self.status().await?;
        *lock(&self.cleared) = Some(status);
        Ok(vec!["statistics are shown from the last flip on; the books go on".to_owned()])
    }

    /// Templates go to those that may have missed them.
    pub(super) fn send_templates(&self) -> Vec<String> {
        let collectors = lock(&self.collectors);
        let told = collectors.iter().map(|collector| {
            let name = collector.queue.name();
            if collector.about.templates.is_empty() {
                return format!("{name}: NetFlow v5 has no templates");
            }
            if !collector.about.is_lossy {
                return format!(
                    "{name}: has them from the beginning of its session, and is not to get them twice"
                );
            }
            collector.queue.announce();
            format!("{name}: templates go behind {} records that wait", collector.queue.records())
        });
        told.collect()
    }

    /// The configuration is read again by whoever does that.
    pub(super) async fn reload(&self) -> Result<Vec<String>, String> {
        let cannot = || "this agent cannot read its configuration again".to_owned();
        let (done, changed) = oneshot::channel();
        let reloads = self.reloads.as_ref().ok_or_else(cannot)?;
        reloads.send(Reload { done }).await.map_err(|_| cannot())?;
        changed.await.map_err(|_| ENDING.to_owned())?
    }
}

/// The latest records of an address, and how many there are.
fn exported(lists: &[Arc<Records>], prefix: Prefix, status: &Status) -> (Vec<ExportedRow>, u64) {
    let filter = Filter::of_host(prefix);
    let records = lists.iter().rev().flat_map(|list| list.iter().rev());
    let mut matching: Vec<&FlowRecord> = records.filter(|record| filter.matches(record)).collect();
    let number = matching.len() as u64;
    matching.truncate(EXPLAINED);
    let shown = matching
        .iter()
        .map(|record| ExportedRow { flow: row(record, status.at), end_reason: record.end_reason as u8 });
    (shown.collect(), number)
}

/// Why packets are in no flow, those reasons that have any.
fn not_metered(status: &Status) -> ByReason<u64> {
    let packets = &status.books.packets;
    let single = [
        ("filtered", packets.filtered),
        ("own_export", packets.own_export),
        ("sampled_out", packets.sampled_out),
    ];
    let by_reason = [&packets.not_ip, &packets.bad_ip, &packets.lost].into_iter().flat_map(|lines| &lines.0);
    let named = by_reason.map(|(name, packets)| (name.clone(), *packets));
    let all = named.chain(single.map(|(name, packets)| (name.into(), packets)));
    let mut seen = HashSet::new();
    ByReason(all.filter(|(name, packets)| *packets > 0 && seen.insert(name.clone())).collect())
}

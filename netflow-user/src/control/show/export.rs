//! `netflow show export`: collectors, their sessions and queues.

use super::table::{Table, grouped, instant};
use crate::control::Export;

/// The collectors as lines.
pub fn export(export: &Export) -> Vec<String> {
    let mut lines = vec![instant(export.at)];
    for collector in &export.collectors {
        let books = &collector.books;
        let session = match (books.session.is_active, books.session.began.0) {
            (true, _) => format!("session since {}", instant(books.session.began)),
            (false, 0) => "no session yet".to_owned(),
            (false, _) => format!("no session; the last one began {}", instant(books.session.began)),
        };
        let health = if collector.is_good { "well" } else { "NOT WELL: it takes nothing" };
        lines.push(String::new());
        lines.push(format!("{} ({}, {})", books.name, collector.protocol, collector.peer));
        lines.push(format!("  {health}; {session}"));
        lines.push(format!(
            "  {} messages, {} octets; {} templates, {} options templates; {} discarded, {} refused, {} tried again",
            grouped(books.messages),
            grouped(books.message_octets),
            grouped(books.session.templates),
            grouped(books.session.options_templates),
            grouped(books.session.discarded_messages),
            grouped(books.refused_datagrams),
            grouped(books.retries)
        ));
        let mut table = Table::new(1, ["  ", "Records", "Packets", "Octets"]);
        let mut row = |name: &str, volume: &crate::ledger::Volume| {
            let numbers = [volume.records, volume.packets, volume.octets].map(grouped);
            table.push([vec![format!("  {name}")], numbers.to_vec()].concat());
        };
        row("offered", &books.offered);
        if books.inherited.records > 0 {
            row("inherited", &books.inherited);
        }
        row("sent", &books.sent);
        row(&format!("queued (room for {})", grouped(collector.queue_limit)), &books.queued);
        if books.spooled.records > 0 {
            row("spooled", &books.spooled);
        }
        for (reason, volume) in books.not_sent.0.iter().filter(|(_, volume)| volume.records > 0) {
            row(&format!("not sent: {reason}"), volume);
        }
        lines.extend(table.lines());
    }
    lines
}

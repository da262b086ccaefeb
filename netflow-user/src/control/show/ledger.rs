//! `netflow show ledger`: the sums written out, so that everybody sees them close.

use super::table::{between, grouped, instant};
use crate::{
    control::LedgerAnswer,
    ledger::{Books, ByReason, DestinationLines, Volume},
};

/// The books as lines.
pub fn ledger(answer: &LedgerAnswer) -> Vec<String> {
    let LedgerAnswer { at, started, books } = answer;
    let mut lines = vec![format!("The books at {}, after {}", instant(*at), between(*started, *at))];
    packets(books, &mut lines);
    octets(books, &mut lines);
    books.destinations.iter().for_each(|destination| collector(destination, &mut lines));
    lines.push(String::new());
    lines.push(match &books.last_imbalance {
        None => format!("balanced at every one of {} flips", grouped(books.flips)),
        Some(last) => format!(
            "NOT BALANCED {} times in {} flips, last: {last}",
            grouped(books.imbalances),
            grouped(books.flips)
        ),
    });
    lines
}

/// A sum with its parts, each on a line of its own.
struct Sum {
    lines: Vec<(char, u64, String)>,
    total: u128,
}

impl Sum {
    fn new(number: u64, name: &str) -> Self {
        Self { lines: vec![(' ', number, name.to_owned())], total: 0 }
    }

    fn part(&mut self, number: u64, name: &str) {
        let sign = if self.lines.len() == 1 { '=' } else { '+' };
        self.lines.push((sign, number, name.to_owned()));
        self.total += u128::from(number);
    }

    /// What has reasons is shown reason by reason, those that are zero left out.
    fn parts(&mut self, reasons: &ByReason<u64>, name: &str) {
        let is_there =
            |(reason, count): &(_, u64)| (*count > 0).then(|| format!("{reason} {}", grouped(*count)));
        let reasons_there: Vec<String> = reasons.0.iter().filter_map(is_there).collect();
        let why =
            if reasons_there.is_empty() { String::new() } else { format!(" ({})", reasons_there.join(", ")) };
        self.part(reasons.sum(), &format!("{name}{why}"));
    }

    fn write(self, title: &str, lines: &mut Vec<String>) {
        let whole = self.lines[0].1;
        lines.push(String::new());
        let closes = if u128::from(whole) == self.total { "" } else { "  DOES NOT CLOSE" };
        lines.push(format!("{title}{closes}"));
        for (sign, number, name) in &self.lines {
            lines.push(format!("  {sign} {:>19}  {name}", grouped(*number)));
        }
    }
}

fn packets(books: &Books, lines: &mut Vec<String>) {
    let packets = &books.packets;
    let mut sum = Sum::new(packets.seen, "seen");
    sum.parts(&packets.not_ip, "not_ip");
    sum.parts(&packets.bad_ip, "bad_ip");
    sum.part(packets.filtered, "filtered");
    sum.part(packets.own_export, "own_export");
    sum.part(packets.sampled_out, "sampled_out");
    sum.parts(&packets.lost, "lost");
    sum.part(packets.metered, "metered");
    sum.write("Packets", lines);
    let mut sum = Sum::new(packets.metered, "metered");
    sum.part(packets.in_cache, &format!("in_cache, {} flows", grouped(books.flows.in_cache)));
    sum.part(packets.in_records, &format!("in_records, {} records", grouped(books.records.total)));
    sum.write("Packets metered", lines);
}

fn octets(books: &Books, lines: &mut Vec<String>) {
    let octets = &books.octets;
    let mut sum = Sum::new(octets.seen, "seen");
    sum.part(octets.filtered, "filtered");
    sum.part(octets.own_export, "own_export");
    sum.part(octets.sampled_out, "sampled_out");
    sum.parts(&octets.lost, "lost");
    sum.part(octets.metered, "metered");
    sum.write("Octets of IP packets", lines);
    let mut sum = Sum::new(octets.metered, "metered");
    sum.part(octets.in_cache, "in_cache");
    sum.part(octets.in_records, "in_records");
    sum.write("Octets metered", lines);
}

fn collector(destination: &DestinationLines, lines: &mut Vec<String>) {
    let of = |pick: fn(&Volume) -> u64, unit: &str, lines: &mut Vec<String>| {
        let mut sum = Sum::new(pick(&destination.offered) + pick(&destination.inherited), "offered");
        if destination.inherited.records > 0 {
            sum.lines[0].2 = format!("offered, {} of them inherited", grouped(pick(&destination.inherited)));
        }
        sum.part(pick(&destination.sent), "sent");
        sum.part(pick(&destination.queued), "queued");
        sum.part(pick(&destination.spooled), "spooled");
        let not_sent = destination.not_sent.0.iter().map(|(reason, volume)| (reason.clone(), pick(volume)));
        sum.parts(&ByReason(not_sent.collect()), "not_sent");
        sum.write(&format!("{unit} for {}", destination.name), lines);
    };
    of(|volume| volume.records, "Records", lines);
    of(|volume| volume.packets, "Packets", lines);
    of(|volume| volume.octets, "Octets", lines);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{
        ledger::{Ledger, Tally},
        time::UnixMillis,
    };
    use netflow_common::KernelStats;

    fn answer(metered: u64) -> LedgerAnswer {
        let mut ledger = Ledger::new();
        ledger.join("udp://192.0.2.7:4739");
        let stats = KernelStats { seen_packets: 1000, seen_octets: 40_000, ..KernelStats::default() };
        let _ = ledger.close_flip(&stats, Tally { packets: metered, octets: 40_000 });
        LedgerAnswer { at: UnixMillis(61_000), started: UnixMillis(0), books: ledger.books() }
    }

    #[test]
    fn a_sum_is_shown_with_every_part_of_it() {
        let text = ledger(&answer(1000)).join("\n");
        for part in [
            "The books at 1970-01-01T00:01:01Z, after 1m 1s",
            "1,000  seen",
            "=",
            "1,000  metered",
            "Records for udp://192.0.2.7:4739",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn a_sum_that_does_not_close_is_said() {
        let text = ledger(&answer(999)).join("\n");
        assert!(text.contains("Packets  DOES NOT CLOSE") && text.contains("NOT BALANCED"), "{text}");
    }

    #[test]
    fn books_survive_the_way_over_the_socket() {
        let answer = answer(1000);
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<LedgerAnswer>(&text).unwrap(), answer);
    }
}

//! When a Transport Session over UDP sends its templates, and when its options data: each by a schedule.
//!
//! In: the time, whether records wait, and what the last message held. Out: which item, a template or an options
//! record, the next message holds. This module refuses to know octets.
//!
//! Datagrams get lost and collectors restart, so items go out in rounds, again and again: at the
//! start, with the first data if the start had none (UDP-TMPL-5), at thirds of the first period
//! (V9-TMPL-8), then every period and every so many messages, whichever is first (UDP-TMPL-1,
//! UDP-TMPL-3, UDP-TMPL-7). A round that does not fit one message takes several (UDP-MTU-4).

use std::{num::NonZeroU32, time::Duration};

use crate::time::MonotonicNanos;

/// Into how many steps the first period is divided, each ending in a round of its own.
const ACCELERATED_ROUNDS: u8 = 3;
/// A period that never ends: items go once, since what arrives for sure is not repeated (TMPL-SES-2).
pub const ONCE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A value: a message that was built but not sent leaves no trace, since it advanced a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Schedule {
    /// Items of a round.
    items: usize,
    period: Duration,
    /// A round is due after so many messages with data.
    messages: Option<NonZeroU32>,
    /// An announcement does not wait for data to go first.
    is_urgent: bool,
    /// Items of the current round that were sent; all of them between rounds.
    sent: usize,
    /// Items that were sent in this session: the first ones of the order of sending.
    known: usize,
    /// A round is due at once, and then accelerated ones.
    announced: bool,
    /// Rounds still to come at a third of the period.
    accelerated: u8,
    /// The next round by time.
    due: MonotonicNanos,
    /// Messages with data from the last message with items on, that one included.
    data_messages: u32,
    /// No data was sent since the announcement.
    before_first_data: bool,
    /// The last message had no room for data beside the items.
    data_owed: bool,
}

impl Schedule {
    /// Of templates: after a time and after so many messages.
    pub fn of_templates(templates: usize, period: Duration, messages: NonZeroU32) -> Self {
        Self::new(templates, period, Some(messages), false)
    }

    /// Of options records: what they say holds for the data behind them, so a change goes first (OPT-SAMP-2).
    pub fn of_options(records: usize, period: Duration) -> Self {
        Self::new(records, period, None, true)
    }

    /// Of statistics: they can wait for data.
    pub fn of_statistics(records: usize, period: Duration) -> Self {
        Self::new(records, period, None, false)
    }

    fn new(items: usize, period: Duration, messages: Option<NonZeroU32>, is_urgent: bool) -> Self {
        Self {
            items,
            period,
            messages,
            is_urgent,
            sent: items,
            known: 0,
            announced: true,
            accelerated: 0,
            due: MonotonicNanos(0),
            data_messages: 0,
            before_first_data: true,
            data_owed: false,
        }
    }

    /// Starts over as at the start of the session.
    pub fn announce(&mut self) {
        self.announced = true;
        self.before_first_data = true;
    }

    /// There are other items, to be announced.
    pub fn replace(&mut self, items: usize) {
        self.items = items;
        self.sent = items;
        self.known = 0;
        self.announce();
    }

    /// Rounds have other distances from now on, the next one from the last one, too.
    pub fn set_period(&mut self, period: Duration, messages: Option<NonZeroU32>) {
        let (before, now) = (self.step(), Self { period, ..*self }.step());
        let last = MonotonicNanos(0).plus(self.due.since(MonotonicNanos(0)).saturating_sub(before));
        self.due = last.plus(now);
        (self.period, self.messages) = (period, messages);
    }

    /// From one round to the next one.
    fn step(&self) -> Duration {
        if self.accelerated > 0 { self.period / u32::from(ACCELERATED_ROUNDS) } else { self.period }
    }

    /// A message is begun: begins a round if one is due.
    pub fn begin_message(&mut self, now: MonotonicNanos, records_wait: bool) {
        if self.sent < self.items || self.items == 0 {
            return;
        }
        // However short the period and however small the message, a round that kept data waiting is
        // followed by data, not by another round (UDP-TMPL-4).
        if records_wait && self.data_owed && !(self.announced && self.is_urgent) {
            return;
        }
        let due_by_messages = records_wait
            && self.period < ONCE
            && (self.before_first_data || self.messages.is_some_and(|most| self.data_messages >= most.get()));
        if self.announced {
            self.announced = false;
            self.accelerated = ACCELERATED_ROUNDS;
            self.due = now.plus(self.period / u32::from(ACCELERATED_ROUNDS));
        } else if now >= self.due {
            self.accelerated = self.accelerated.saturating_sub(1);
            let accelerated = self.accelerated > 0;
            self.due =
                now.plus(if accelerated { self.period / u32::from(ACCELERATED_ROUNDS) } else { self.period });
        } else if due_by_messages {
            // The accelerated rounds keep their places, since many messages may leave in one moment.
            if self.accelerated == 0 {
                self.due = now.plus(self.period);
            }
        } else {
            return;
        }
        self.sent = 0;
    }

    /// The place of the item that goes into this message next, if any.
    pub fn next_item(&self) -> Option<usize> {
        (self.sent < self.items).then_some(self.sent)
    }

    /// That item is in the message.
    pub fn item_written(&mut self) {
        self.sent += 1;
        self.known = self.known.max(self.sent);
    }

    /// Whether a Data Record may follow: its template was sent before, or stands earlier in this
    /// message (V9-TMPL-2, TMPL-ORD-2).
    pub fn is_known(&self, item: usize) -> bool {
        item < self.known
    }

    /// The message is complete.
    pub fn end_message(&mut self, items: usize, records: usize, records_wait: bool) {
        if items > 0 {
            self.data_messages = 0;
        }
        if records > 0 {
            self.data_messages = self.data_messages.saturating_add(1);
            self.before_first_data = false;
        }
        self.data_owed = records_wait && records == 0;
    }

    /// When a message is due even if no record waits.
    pub fn deadline(&self) -> MonotonicNanos {
        match () {
            () if self.items == 0 => MonotonicNanos(u64::MAX),
            () if self.announced || self.sent < self.items => MonotonicNanos(0),
            () => self.due,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(60);

    fn schedule(messages: u32) -> Schedule {
        Schedule::of_templates(2, PERIOD, NonZeroU32::new(messages).expect("tests pass more than 0"))
    }

    /// One message with room for `room` templates, and for data beside them if `data_fits`.
    fn message(schedule: &mut Schedule, seconds: u64, wait: bool, room: usize, data_fits: bool) -> usize {
        schedule.begin_message(MonotonicNanos(seconds * 1_000_000_000), wait);
        let mut templates = 0;
        while schedule.next_item().is_some() && templates < room {
            schedule.item_written();
            templates += 1;
        }
        let data = wait && (templates == 0 || data_fits) && schedule.is_known(1);
        schedule.end_message(templates, data.into(), wait);
        templates
    }

    /// The seconds at which an idle session sends templates.
    fn idle_rounds(schedule: &mut Schedule, seconds: impl Iterator<Item = u64>) -> Vec<u64> {
        seconds.filter(|&second| message(schedule, second, false, 2, true) > 0).collect()
    }

    #[test]
    fn the_first_period_has_three_rounds_and_later_ones_one_each() {
        // UDP-TMPL-1, V9-TMPL-4, V9-TMPL-8
        assert_eq!(idle_rounds(&mut schedule(20), 0..200), [0, 20, 40, 60, 120, 180]);
    }

    #[test]
    fn where_nothing_gets_lost_items_go_once() {
        // TMPL-SES-2
        let mut once = Schedule::of_templates(2, ONCE, NonZeroU32::MAX);
        let rounds = (0..500).map(|second| message(&mut once, second, second > 100, 2, true));
        assert_eq!(rounds.filter(|&templates| templates > 0).count(), 1);
    }

    #[test]
    fn an_announcement_accelerates_again() {
        // V9-TMPL-9
        let mut schedule = schedule(20);
        assert_eq!(idle_rounds(&mut schedule, 0..130).len(), 5);
        schedule.announce();
        assert_eq!(schedule.deadline(), MonotonicNanos(0));
        assert_eq!(idle_rounds(&mut schedule, 130..300), [130, 150, 170, 190, 250]);
    }

    #[test]
    fn an_announcement_in_the_middle_of_a_round_lets_it_end() {
        let mut schedule = schedule(20);
        for _ in 0..2 {
            schedule.announce();
            assert_eq!(message(&mut schedule, 0, false, 1, false), 1);
        }
        assert!(schedule.is_known(1));
    }

    #[test]
    fn templates_go_out_again_after_every_so_many_data_messages() {
        // UDP-TMPL-3, V9-TMPL-3
        let mut schedule = schedule(5);
        let with_templates: Vec<u64> =
            (0..12).filter(|_| message(&mut schedule, 1, true, 2, true) > 0).collect();
        assert_eq!(with_templates, [0, 5, 10]);
    }

    #[test]
    fn another_period_holds_from_the_last_round_on() {
        let mut schedule = schedule(20);
        assert_eq!(idle_rounds(&mut schedule, 0..70), [0, 20, 40, 60]);
        schedule.set_period(Duration::from_secs(30), None);
        assert_eq!(idle_rounds(&mut schedule, 70..130), [90, 120]);
        schedule.set_period(Duration::from_secs(100), None);
        assert_eq!(schedule.deadline(), MonotonicNanos(220_000_000_000));
        // One that would be over by the new period is due at once.
        schedule.set_period(Duration::from_secs(1), None);
        assert_eq!(idle_rounds(&mut schedule, 130..132), [130, 131]);
    }

    #[test]
    fn a_start_without_data_is_repeated_with_the_first_data() {
        // UDP-TMPL-5
        let mut schedule = schedule(20);
        assert_eq!(message(&mut schedule, 0, false, 2, true), 2);
        assert_eq!(message(&mut schedule, 1, true, 2, true), 2);
        assert_eq!(message(&mut schedule, 1, true, 2, true), 0);
    }

    #[test]
    fn data_flow_even_if_templates_are_always_due_and_fill_the_message() {
        // UDP-TMPL-4
        let mut schedule = schedule(1);
        let mut sent = Vec::new();
        for second in 0..9 {
            schedule.announce();
            sent.push(message(&mut schedule, second * 1000, true, 1, false));
        }
        assert_eq!(sent, [1, 1, 0, 1, 1, 0, 1, 1, 0]);
    }

    #[test]
    fn the_deadline_is_the_next_round() {
        let mut schedule = schedule(20);
        assert_eq!(schedule.deadline(), MonotonicNanos(0));
        message(&mut schedule, 7, false, 2, true);
        assert_eq!(schedule.deadline(), MonotonicNanos(27_000_000_000));
    }

    #[test]
    fn a_change_of_options_goes_before_the_data_that_wait() {
        // OPT-SAMP-2
        let mut options = Schedule::of_options(2, PERIOD);
        assert_eq!(message(&mut options, 0, true, 2, false), 2);
        options.replace(2);
        assert_eq!(options.deadline(), MonotonicNanos(0));
        assert_eq!(message(&mut options, 0, true, 2, false), 2);
        assert_eq!(message(&mut options, 1, true, 2, true), 0);
    }

    #[test]
    fn without_items_nothing_is_ever_due() {
        let mut options = Schedule::of_options(0, PERIOD);
        assert_eq!(message(&mut options, 0, true, 2, true), 0);
        assert_eq!(options.deadline(), MonotonicNanos(u64::MAX));
    }

    #[test]
    fn options_are_not_repeated_by_messages() {
        let mut options = Schedule::of_options(1, PERIOD);
        let sent: Vec<u64> = (0..100).filter(|_| message(&mut options, 1, true, 2, true) > 0).collect();
        assert_eq!(sent, [0]);
    }
}

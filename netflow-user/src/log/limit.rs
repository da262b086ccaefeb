//! How often one place in the program may log: whatever befalls a host, its log does not fill the disk.

use std::{
    collections::HashMap,
    fmt,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use tracing::{
    Event, Level, Metadata,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Filter};

use crate::{clock, time::MonotonicNanos};

/// Lines of one place in a period.
const LINES: u32 = 1000;
/// The same for what is only logged when somebody wants to know all.
const DETAILS: u32 = 10_000;
/// From the first line on.
const PERIOD: Duration = Duration::from_secs(30);

/// What all places have logged.
static PLACES: LazyLock<Mutex<Places<Identifier>>> = LazyLock::new(Mutex::default);

/// Lets only so many lines of each place through.
pub(super) struct Limit;

impl<S> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let most = if *metadata.level() <= Level::INFO { LINES } else { DETAILS };
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        places.may_log(metadata.callsite(), most, clock::now().monotonic, || {
            let mut message = Message(String::new());
            event.record(&mut message);
            message.0
        })
    }
}

/// Lines that were not logged, and the first of them; of places whose period is over, or of all at the end.
pub(super) fn left_out(is_end: bool) -> Vec<(u64, String)> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner).left_out(clock::now().monotonic, is_end)
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

struct Places<K>(HashMap<K, Place>);

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

struct Place {
    began: MonotonicNanos,
    logged: u32,
    left_out: u64,
    /// The first line that was left out.
    first: String,
}

impl<K: Eq + std::hash::Hash> Places<K> {
    fn may_log(&mut self, key: K, most: u32, now: MonotonicNanos, line: impl FnOnce() -> String) -> bool {
        let fresh = || Place { began: now, logged: 0, left_out: 0, first: String::new() };
        let place = self.0.entry(key).or_insert_with(fresh);
        if now.since(place.began) >= PERIOD {
            (place.began, place.logged) = (now, 0);
        }
        if place.logged < most {
            place.logged += 1;
            return true;
        }
        if place.left_out == 0 {
            place.first = line();
        }
        place.left_out += 1;
        false
    }

    fn left_out(&mut self, now: MonotonicNanos, is_end: bool) -> Vec<(u64, String)> {
        let due = |place: &&mut Place| place.left_out > 0 && (is_end || now.since(place.began) >= PERIOD);
        let places = self.0.values_mut().filter(due);
        places.map(|place| (std::mem::take(&mut place.left_out), std::mem::take(&mut place.first))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn log(places: &mut Places<u8>, place: u8, at: u64, line: &str) -> bool {
        places.may_log(place, 2, MonotonicNanos(at * SECOND), || line.to_owned())
    }

    #[test]
    fn each_place_may_log_so_many_lines_in_a_period_and_the_rest_is_counted() {
        let mut places = Places::default();
        assert!(log(&mut places, 1, 0, "a") && log(&mut places, 1, 1, "b"));
        assert!(!log(&mut places, 1, 2, "c") && !log(&mut places, 1, 29, "d"));
        assert!(log(&mut places, 2, 29, "another"));
        assert_eq!(places.left_out(MonotonicNanos(29 * SECOND), false), []);
        assert!(log(&mut places, 1, 30, "e"), "the next period");
        assert!(log(&mut places, 1, 31, "f") && !log(&mut places, 1, 32, "g"));
        assert_eq!(places.left_out(MonotonicNanos(60 * SECOND), false), [(3, "c".to_owned())]);
        assert_eq!(places.left_out(MonotonicNanos(90 * SECOND), true), []);
    }

    #[test]
    fn what_was_left_out_is_told_at_the_end_whatever_the_time() {
        let mut places = Places::default();
        let logged = (0..5).filter(|_| log(&mut places, 1, 0, "a")).count();
        assert_eq!(logged, 2);
        assert_eq!(places.left_out(MonotonicNanos(0), true), [(3, "a".to_owned())]);
    }
}

//! Batches of mutated packets through both meters, which count the same.

use std::time::Instant;

use netflow_common::KernelStats;
use netflow_user::kernel::{EntryPoint, Measure, SocketBuffer};
use tests::host::{HostMeterOf, HostValues};
use tests::meter::{KernelMeterOf, SHORTEST_BUFFER, link_type, pass};

use crate::mutation::SHORTEST;
use crate::random::Random;
use crate::{fill, hex};

/// Packets between two comparisons: fewer flows than the map has room for.
const BATCH: usize = 4096;
/// What is remembered beyond a batch stays well below what the kernel has room for (16,384 first fragments and
/// 131,072 directions of connections), so that it forgets nothing: then both meters start anew.
const REMEMBERED: (usize, usize) = (12_000, 120_000);

/// A frame, and how it comes to the program.
#[derive(Clone, Default)]
struct Sample {
    frame: Vec<u8>,
    /// How much of it is in the linear part; `None`: all.
    linear: Option<usize>,
    /// What the socket buffer says (TC only).
    buffer: SocketBuffer,
}

/// Both meters, and what they can be shown.
struct Both<V: HostValues> {
    measure: Measure,
    kernel: KernelMeterOf<V>,
    host: HostMeterOf<V>,
}

impl<V: HostValues> Both<V> {
    fn new(measure: Measure) -> Self {
        let kernel = KernelMeterOf::measuring(measure, true).unwrap();
        Self { measure, kernel, host: HostMeterOf::new(measure) }
    }

    /// Both forget everything.
    fn renew(&mut self) {
        *self = Self::new(self.measure);
    }

    /// Both meter a packet. A socket buffer that the kernel makes no test run with counts nowhere.
    fn enter(&mut self, entry: EntryPoint, sample: &Sample) -> bool {
        let Sample { frame, linear, buffer } = sample;
        let returned = match linear {
            _ if !entry.is_xdp() => self.kernel.enter_buffer(frame, buffer),
            Some(linear) => self.kernel.enter_split(frame, *linear),
            None => self.kernel.enter(frame),
        };
        match returned {
            // Kernels differ in how much of a header a test run must have.
            Err(_) if !entry.is_xdp() && frame.len() < SHORTEST_BUFFER => return false,
            returned => assert_eq!(returned.unwrap(), pass(entry), "{}", hex(frame)),
        }
        self.host.enter_buffer(entry, frame, buffer);
        true
    }

    fn difference(&mut self) -> Option<String> {
        self.kernel.take().unwrap().difference(&self.host.take())
    }

    /// Names the first packet that makes a difference, of meters that know nothing before the batch.
    fn explain(&mut self, entry: EntryPoint, batch: &[Sample], whole: &str) -> String {
        self.renew();
        self.kernel.kernel.test(entry).unwrap();
        for (number, sample) in batch.iter().enumerate() {
            self.enter(entry, sample);
            if let Some(difference) = self.difference() {
                let (linear, buffer, frame) = (sample.linear, sample.buffer, hex(&sample.frame));
                return format!("packet {number}, linear {linear:?}, {buffer:?}: {frame}\n{difference}");
            }
        }
        format!("no packet of {} alone:\n{whole}", batch.len())
    }
}

/// Every entry point has its turn, most often the one that most packets come to.
fn entry_point(turn: u64) -> EntryPoint {
    let [fragments, xdp, others @ ..] = EntryPoint::ALL;
    match turn % 8 {
        0..4 => fragments,
        4 => xdp,
        _ => others[turn as usize % others.len()],
    }
}

/// Makes the next sample in place.
fn make(sample: &mut Sample, entry: EntryPoint, seeds: &[Vec<u8>], splits: bool, random: &mut Random) {
    let Sample { frame, linear, buffer } = sample;
    fill(frame, seeds, random);
    (*linear, *buffer) = (None, SocketBuffer::default());
    if entry == EntryPoint::XdpFragments && splits && random.one_in(4) {
        let bound = if random.one_in(4) { frame.len() } else { frame.len().min(120) };
        *linear = Some(random.below(bound));
    }
    if !entry.is_xdp() {
        if link_type(entry) != netflow_ebpf::packet::LinkType::Ethernet {
            // The kernel wants as much as an Ethernet header has, and one octet more.
            frame.drain(..SHORTEST.min(frame.len()));
        }
        frame.resize(frame.len().max(SHORTEST + 1), 0);
        if random.one_in(4) {
            let most = random.of(&[2, 12, 12, 65_536]);
            buffer.segments = random.below(most) as u32;
            buffer.segment_size = random.below(1500) as u32;
            if random.one_in(2) {
                buffer.wire_length = (frame.len() + random.below(2000)) as u32;
            }
        }
    }
}

/// So many packets through both meters; what came of those that the XDP programs were shown.
pub fn agree<V: HostValues>(measure: Measure, seeds: &[Vec<u8>], packets: u64, seed: u64) -> KernelStats {
    let mut random = Random(seed);
    let mut both = Both::<V>::new(measure);
    let can_split = both.kernel.splits();
    let mut batch = vec![Sample::default(); BATCH];
    let (mut totals, mut flows, mut split, mut done, mut renewed) = (KernelStats::default(), 0, 0, 0_u64, 0);
    let start = Instant::now();
    for turn in 0.. {
        if done >= packets {
            break;
        }
        let entry = entry_point(turn);
        both.kernel.kernel.test(entry).unwrap();
        let size = usize::try_from(packets - done).unwrap().min(BATCH);
        for sample in &mut batch[..size] {
            make(sample, entry, seeds, can_split, &mut random);
            done += u64::from(both.enter(entry, sample));
            split += u64::from(sample.linear.is_some());
        }
        let (found, expected) = (both.kernel.take().unwrap(), both.host.take());
        if let Some(difference) = found.difference(&expected) {
            let why = both.explain(entry, &batch[..size], &difference);
            panic!("seed {seed}, batch {turn}, {entry:?}: kernel and host differ: {why}");
        }
        assert!(found.balanced(), "seed {seed}, batch {turn}, {entry:?}");
        // A packet weighs one there.
        if entry.is_xdp() {
            totals.add(&found.stats);
        }
        flows += found.flows.len();
        let (fragments, connections) = both.host.remembered();
        if fragments > REMEMBERED.0 || connections > REMEMBERED.1 {
            both.renew();
            renewed += 1;
        }
        if turn % 256 == 255 {
            eprintln!("{done} packets in {:?}", start.elapsed());
        }
    }
    eprintln!(
        "{done} mutated packets of {} seeds agree (seed {seed}, {split} of them split, {flows} flows, {renewed} times \
         started anew) in {:?}\n{totals:?}",
        seeds.len(),
        start.elapsed()
    );
    totals
}

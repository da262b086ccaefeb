//! What is asked of the privileged process, and what it answers. Both ends are the same program, so that there are no
//! versions; what is asked is checked all the same, since who asks talks to the network.

use std::{num::NonZeroU32, sync::Arc};

use bytemuck::cast;
use netflow_common::{SamplingMode, WideKey};
use serde::{Deserialize, Serialize};

use crate::{
    filter::{CompiledFilter, FilterError},
    kernel::{
        AttachOptions, Attachment, EntryPoint, KernelError, LoadOptions, Measure, OwnExport,
        explain::error_chain, handed_over::Loaded,
    },
};

/// Octets of an error's line at most. A verifier's log can have a megabyte, whose end says what is wrong.
const LONGEST_LINE: usize = 16 << 10;

/// One thing to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Loads a meter beside the one that may be there.
    Load(Box<Load>),
    /// Moves links, which come with it, to the meter that was loaded last, and forgets the other one. These are what they
    /// bring packets to.
    TakeOver(Vec<EntryPoint>),
    /// Attaches to an interface.
    Attach { interface: String, index: u32, how: AttachOptions },
    /// Detaches from it what has no link.
    Detach { index: u32 },
    /// A socket that keeps an interface in promiscuous mode.
    Promiscuous { index: u32 },
    /// Gives a thread of the agent the priority of metering.
    Prioritise { thread: i32 },
    /// Passes on what the programs have told.
    FlushLog,
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It is done.
    Done,
    /// [`Request::Load`]: descriptors come with it.
    Loaded(Box<Loaded>),
    /// [`Request::TakeOver`]: whether each link has moved, and the ifIndexes of filters that have not.
    TakenOver { moved: Vec<bool>, lost: Vec<u32> },
    /// [`Request::Attach`]: links come with it, and this is what they bring packets to.
    Attached { attachment: Attachment, links: Vec<EntryPoint> },
    /// It cannot be done: the line that says why, and the kernel's number.
    Failed { line: String, number: Option<i32> },
}

impl Answer {
    /// An error as a line with its causes.
    pub(super) fn failed(error: &KernelError) -> Self {
        Self::Failed { line: line(error), number: None }
    }
}

/// An error as a line with its causes, of which very long ones lose their middle.
pub(super) fn line(error: &KernelError) -> String {
    let whole = error_chain(error);
    if whole.len() <= LONGEST_LINE {
        return whole;
    }
    let (head, tail) = (LONGEST_LINE / 4, whole.len() - LONGEST_LINE * 3 / 4);
    let head: String = whole.char_indices().take_while(|(at, _)| *at < head).map(|(_, c)| c).collect();
    let tail: String = whole.char_indices().skip_while(|(at, _)| *at < tail).map(|(_, c)| c).collect();
    format!("{head} ... {tail}")
}

/// [`LoadOptions`] in plain values.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Load {
    map_size: u32,
    flow_table: u32,
    kernel_memory: u64,
    precise_clock: bool,
    tap: bool,
    explain: bool,
    join_fragments: bool,
    groups: u32,
    tunnels: u32,
    mark_initial_syn: bool,
    key_masks: Option<[[u64; 9]; 2]>,
    sampling: u8,
    sampling_interval: NonZeroU32,
    filter: Option<CompiledFilter>,
    own_export: OwnExport,
    own_connections: bool,
}

impl Load {
    pub(super) fn new(options: &LoadOptions) -> Result<Self, FilterError> {
        let measure = &options.measure;
        let filter = options.filter.as_ref().map(|filter| filter.for_interfaces()).transpose()?;
        Ok(Self {
            map_size: options.map_size,
            flow_table: options.flow_table,
            kernel_memory: options.kernel_memory,
            precise_clock: options.precise_clock,
            tap: options.tap,
            explain: options.explain,
            join_fragments: measure.join_fragments,
            groups: measure.groups,
            tunnels: measure.tunnels,
            mark_initial_syn: measure.mark_initial_syn,
            key_masks: measure.key_masks.map(|masks| masks.map(cast)),
            sampling: measure.sampling as u8,
            sampling_interval: measure.sampling_interval,
            filter,
            own_export: options.own_export,
            own_connections: options.own_connections,
        })
    }

    /// As it was, its filter's instructions checked anew.
    pub(super) fn options(&self) -> Result<LoadOptions, FilterError> {
        let modes = [SamplingMode::Off, SamplingMode::Count, SamplingMode::Random, SamplingMode::FlowHash];
        Ok(LoadOptions {
            map_size: self.map_size,
            flow_table: self.flow_table,
            kernel_memory: self.kernel_memory,
            precise_clock: self.precise_clock,
            tap: self.tap,
            explain: self.explain,
            measure: Measure {
                join_fragments: self.join_fragments,
                groups: self.groups,
                tunnels: self.tunnels,
                mark_initial_syn: self.mark_initial_syn,
                key_masks: self.key_masks.map(|masks| masks.map(cast::<_, WideKey>)),
                sampling: modes
                    .into_iter()
                    .find(|mode| *mode as u8 == self.sampling)
                    .unwrap_or(SamplingMode::Off),
                sampling_interval: self.sampling_interval,
            },
            filter: self.filter.as_ref().map(|filter| filter.filter().map(Arc::new)).transpose()?,
            own_export: self.own_export,
            own_connections: self.own_connections,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use netflow_common::FlowKey;

    use super::*;
    use crate::filter::{
        Filter,
        classic::{ClassicProgram, RawInstruction},
    };

    #[test]
    fn options_arrive_as_they_were() {
        let matches = [RawInstruction { code: 0x06, k: 262_144, ..RawInstruction::default() }];
        let program = ClassicProgram::new(&matches).unwrap();
        let mask = WideKey { flow: FlowKey { protocol: 0xff, ..FlowKey::default() }, ..WideKey::default() };
        let options = LoadOptions {
            map_size: 1,
            flow_table: 2,
            kernel_memory: u64::MAX,
            precise_clock: true,
            tap: true,
            explain: true,
            measure: Measure {
                join_fragments: true,
                groups: 3,
                tunnels: 4,
                mark_initial_syn: true,
                key_masks: Some([mask, WideKey::default()]),
                sampling: SamplingMode::Random,
                sampling_interval: NonZeroU32::MAX,
            },
            filter: Some(Arc::new(Filter::of_program(&program))),
            own_export: OwnExport::LeftOut,
            own_connections: true,
        };
        let sent = serde_json::to_vec(&Load::new(&options).unwrap()).unwrap();
        let received: Load = serde_json::from_slice(&sent).unwrap();
        assert_eq!(received, Load::new(&options).unwrap());
        let arrived = received.options().unwrap();
        assert_eq!(Load::new(&arrived).unwrap(), received);
        assert_eq!(arrived.measure, options.measure);
    }

    #[test]
    fn a_filter_that_is_no_filter_is_refused_where_it_arrives() {
        // A jump out of the program, and none that ends.
        for code in [0x05, 0x00] {
            let ethernet = vec![RawInstruction { code, k: 9, ..RawInstruction::default() }];
            let filter = Some(CompiledFilter { ethernet, raw_ip: None });
            assert!(Load { filter, ..Load::new(&plain()).unwrap() }.options().is_err());
        }
    }

    fn plain() -> LoadOptions {
        LoadOptions {
            map_size: 1,
            flow_table: 0,
            kernel_memory: 0,
            precise_clock: false,
            tap: false,
            explain: false,
            measure: Measure::DEFAULT,
            filter: None,
            own_export: OwnExport::Metered,
            own_connections: false,
        }
    }

    #[test]
    fn a_verifiers_log_keeps_its_beginning_and_its_end() {
        let long = format!("begin{}end", "é".repeat(LONGEST_LINE));
        let line = line(&KernelError::Privileged { line: long });
        assert!(line.starts_with("begin") && line.ends_with("end") && line.len() < LONGEST_LINE + 16);
    }
}

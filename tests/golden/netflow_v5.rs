//! Datagrams of NetFlow v5.

use std::num::NonZeroU32;

use netflow_user::{
    message::{OptionsData, SamplingMethod, V5Packer, V5PackerConfig},
    time::{Instant, MonotonicNanos},
};

use crate::{flows, vector, vectors};

/// The vector's: 123456789 ns behind the second. Ours states whole milliseconds, the next one.
const NOW: Instant =
    Instant { monotonic: MonotonicNanos(5_000_000_000_000), unix_nanos: 1_767_225_600_123_000_000 };

#[test]
fn netflow_v5_is_that_of_the_vector() {
    // V5-HDR-1, V5-HDR-4, V5-HDR-5, V5-REC-1, V5-REC-2, V5-REC-6
    let config = V5PackerConfig {
        observation_domain_id: 0x0102,
        sampling: Some(SamplingMethod::Count),
        prefix_lengths: [Some(24), None],
        sys_up_time_origin: MonotonicNanos(NOW.monotonic.0 - 3_600_000_000_000),
        message_size: 1472,
    };
    let mut packer = V5Packer::new(config).unwrap();
    packer.set_options_data(&OptionsData { sampled_one_in: NonZeroU32::new(100), ..OptionsData::default() });
    let message = packer.next_message(&flows()[..3], NOW).unwrap();
    assert_eq!(message.records, 3);
    let mut expected = vector(vectors::NETFLOW_V5);
    // unix_nsecs in whole milliseconds.
    expected[12..16].copy_from_slice(&123_000_000_u32.to_be_bytes());
    assert_eq!(message.octets, expected);
}

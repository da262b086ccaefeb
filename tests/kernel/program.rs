//! The program as the kernel took it.

use netflow_common::SamplingMode;
use netflow_user::kernel::{EntryPoint, LoadOptions, Measure, OwnExport};
use tests::meter::{KernelMeter, LOAD_OPTIONS};
use tests::wide::EVERYTHING;

/// The verifier gives up after this many instructions.
const VERIFIER_LIMIT: u32 = 1_000_000;

#[test]
#[ignore = "needs root: loads the kernel program"]
fn the_verifier_needs_less_than_half_of_what_it_grants() {
    for (precise_clock, own_export) in [(true, OwnExport::LeftOut), (false, OwnExport::LeftOutWhereSent)] {
        let joining = Measure { join_fragments: true, ..Measure::DEFAULT };
        let sampling = Measure { sampling: SamplingMode::FlowHash, ..EVERYTHING };
        for measure in [Measure::DEFAULT, joining, EVERYTHING, sampling] {
            let options = LoadOptions { precise_clock, explain: true, measure, own_export, ..LOAD_OPTIONS };
            let mut meter = KernelMeter::load(&options, true).unwrap();
            for entry in EntryPoint::ALL {
                meter.kernel.test(entry).unwrap();
            }
            for (name, count) in meter.kernel.verified_instructions().unwrap() {
                // Kernels before 5.16 do not tell.
                let Some(count) = count else { continue };
                eprintln!("{name} (precise clock: {precise_clock}): {count} instructions verified");
                assert!(count < VERIFIER_LIMIT / 2, "{name}");
            }
        }
    }
}

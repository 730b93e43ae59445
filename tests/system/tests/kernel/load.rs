//! What the object looks like from outside once it is loaded.

use crate::program::Program;
use speaker_ebpf::abi::MAPS;
use speaker_ebpf::model::Limit;

#[test]
fn the_verifier_takes_every_program() {
    let mut program = Program::load(Limit::default());
    let tc = program.tc().info().unwrap();
    assert_eq!(tc.name_as_str(), Some("heliograph_tc"));
    assert!(tc.gpl_compatible().unwrap_or(true));
    let xdp = program.xdp().info().unwrap();
    assert_eq!(xdp.name_as_str(), Some("heliograph_xdp"));
    let sk = program.sk().info().unwrap();
    assert_eq!(sk.name_as_str(), Some("heliograph_sk"));
    for program in [tc, xdp, sk] {
        // Kernels before 5.16 do not say.
        if let Some(verified) = program.verified_instruction_count() {
            let name = program.name_as_str().unwrap();
            eprintln!("{name}: {verified} instructions verified");
            assert!(verified <= VERIFIED_MAX, "{name} verifies {verified}");
        }
    }
}

/// A tenth less than the verifier takes (BPF_COMPLEXITY_LIMIT_INSNS): what comes near is to be made simpler before another compiler
/// or kernel, that sees it another way, refuses it.
const VERIFIED_MAX: u32 = 900_000;

#[test]
fn every_map_is_as_the_abi_says() {
    let program = Program::load(Limit::default());
    for spec in MAPS {
        let info = program.map_info(spec.name);
        assert_eq!(info.name_as_str(), Some(spec.name));
        assert_eq!(info.max_entries(), spec.entries_max, "{}", spec.name);
    }
}

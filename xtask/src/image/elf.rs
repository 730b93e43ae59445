//! What the headers of an ELF file say, by the System V ABI: of an image's program, and of the kernel object in it.

use super::Architecture;

/// The bytes of a file that may be an ELF file.
pub(super) struct Elf<'a>(pub(super) &'a [u8]);

impl Elf<'_> {
    /// Whether it is of 64 bits and little-endian, as every machine is that images are made for, and as the kernel reads an object there.
    pub(super) fn is_little_endian(&self) -> bool {
        self.0.starts_with(LITTLE_ENDIAN)
    }

    /// Whether it is for this kind of processor.
    pub(super) fn is_for(&self, architecture: Architecture) -> bool {
        let machine = match architecture {
            Architecture::X86_64 => 62,
            Architecture::Aarch64 => 183,
        };
        self.number(18, 2) == Some(machine)
    }

    /// Whether it is for the kernel's own machine.
    pub(super) fn is_for_bpf(&self) -> bool {
        self.number(18, 2) == Some(BPF)
    }

    /// Whether it asks for a loader, which an image does not have.
    pub(super) fn asks_for_loader(&self) -> bool {
        let number = |at, bytes| self.number(at, bytes).and_then(|n| usize::try_from(n).ok());
        let first = number(32, 8).unwrap_or(0);
        let size = number(54, 2).unwrap_or(0);
        let count = number(56, 2).unwrap_or(0);
        let mut kinds = (0..count).filter_map(|at| self.number(first.checked_add(at * size)?, 4));
        kinds.any(|kind| kind == INTERPRETER)
    }

    fn number(&self, at: usize, bytes: usize) -> Option<u64> {
        let field = self.0.get(at..at.checked_add(bytes)?)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        )
    }

    /// Its length: the table of sections is the last thing in an object.
    fn length(&self) -> Option<usize> {
        let table = self.number(58, 2)?.checked_mul(self.number(60, 2)?)?;
        self.number(40, 8)?.checked_add(table)?.try_into().ok()
    }
}

/// The little-endian kernel objects that are somewhere in a program, whole.
pub fn kernel_objects(program: &[u8]) -> Vec<&[u8]> {
    let starts = program.windows(LITTLE_ENDIAN.len()).enumerate();
    let starts = starts.filter(|(_, start)| *start == LITTLE_ENDIAN);
    starts
        .filter_map(|(at, _)| program.get(at..))
        .filter(|rest| Elf(rest).is_for_bpf())
        .filter_map(|rest| rest.get(..Elf(rest).length()?))
        .collect()
}

const LITTLE_ENDIAN: &[u8] = b"\x7fELF\x02\x01";
const INTERPRETER: u64 = 3;
const BPF: u64 = 247;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Headers, some bytes, and a table of two sections.
    pub(in super::super) fn object(machine: u8, order: u8) -> Vec<u8> {
        let mut object = vec![0; 64 + 10 + 2 * 64];
        object[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, order]);
        object[18] = machine;
        object[40] = 64 + 10;
        object[58] = 64;
        object[60] = 2;
        object
    }

    #[test]
    fn an_object_is_found_in_a_program_and_ends_with_its_sections() {
        let kernel = object(247, 1);
        let program = [b"before".as_slice(), &kernel, b"after"].concat();
        assert_eq!(kernel_objects(&program), [kernel.as_slice()]);
    }

    #[test]
    fn what_is_cut_or_of_another_byte_order_or_machine_is_no_object() {
        let kernel = object(247, 1);
        assert!(kernel_objects(&kernel[..kernel.len() - 1]).is_empty());
        assert!(kernel_objects(&object(247, 2)).is_empty());
        assert!(kernel_objects(&object(62, 1)).is_empty());
        assert!(kernel_objects(b"\x7fELF\x02\x01").is_empty());
    }

    #[test]
    fn the_object_as_it_is_built_is_one_whole_object() {
        let path = crate::ebpf::build(crate::ebpf::Object::Heliograph).unwrap();
        let built = std::fs::read(path).unwrap();
        assert_eq!(kernel_objects(&built), [built.as_slice()]);
    }
}

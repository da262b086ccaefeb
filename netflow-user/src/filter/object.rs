//! A translated program as an object file, the form in which the loader takes programs.
//!
//! In: instructions. Out: an ELF object with one program, the map it tail-calls through, and the licence.

use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope,
    elf::R_BPF_64_64,
    write::{Object, Relocation, StandardSegment, Symbol, SymbolSection},
};

use super::{
    FilterError,
    assembler::INSTRUCTION,
    translation::{Hook, Translation},
};

/// The program's name in the object.
pub const PROGRAM: &str = "netflow_filter";
/// The map's: an array of two programs, [`super::MATCHED`] and [`super::FILTERED`].
pub const MAP: &str = "NEXT";

/// `struct bpf_map_def`: type (BPF_MAP_TYPE_PROG_ARRAY), key size, value size, entries, flags.
const MAP_DEFINITION: [u32; 5] = [3, 4, 4, 2, 0];
const LICENSE: &[u8] = b"Dual MIT/GPL\0";

/// Writes the object.
///
/// # Errors
/// It is not possible, which would be a mistake of this program.
pub fn write(translation: &Translation, hook: Hook) -> Result<Vec<u8>, FilterError> {
    let endianness = if cfg!(target_endian = "little") { Endianness::Little } else { Endianness::Big };
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, endianness);
    let section = match hook {
        Hook::Xdp { fragments: true } => "xdp.frags",
        Hook::Xdp { fragments: false } => "xdp",
        Hook::Tc { .. } => "classifier",
    };
    let segment = |segment| object.segment_name(segment).to_vec();
    let (text, data) = (segment(StandardSegment::Text), segment(StandardSegment::Data));

    let maps = object.add_section(data.clone(), b"maps".to_vec(), SectionKind::Data);
    let definition: Vec<u8> = MAP_DEFINITION.iter().flat_map(|field| field.to_ne_bytes()).collect();
    object.append_section_data(maps, &definition, 4);
    let map =
        object.add_symbol(symbol(MAP, definition.len(), SymbolKind::Data, SymbolSection::Section(maps)));

    let program = object.add_section(text, section.into(), SectionKind::Text);
    object.append_section_data(program, &translation.octets, 8);
    object.add_symbol(symbol(
        PROGRAM,
        translation.octets.len(),
        SymbolKind::Text,
        SymbolSection::Section(program),
    ));
    for instruction in &translation.map_addresses {
        let relocation = Relocation {
            offset: (instruction * INSTRUCTION) as u64,
            symbol: map,
            addend: 0,
            flags: RelocationFlags::Elf { r_type: R_BPF_64_64 },
        };
        object.add_relocation(program, relocation).map_err(|_| FilterError::NotWritten)?;
    }

    let license = object.add_section(data, b"license".to_vec(), SectionKind::Data);
    object.append_section_data(license, LICENSE, 1);
    object.write().map_err(|_| FilterError::NotWritten)
}

fn symbol(name: &str, length: usize, kind: SymbolKind, section: SymbolSection) -> Symbol {
    Symbol {
        name: name.into(),
        value: 0,
        size: length as u64,
        kind,
        scope: SymbolScope::Dynamic,
        weak: false,
        section,
        flags: SymbolFlags::None,
    }
}

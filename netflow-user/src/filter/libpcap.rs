//! libpcap's compiler, loaded only when there is an expression to compile: without a filter nothing of it is
//! needed, neither when this program is built nor when it runs.
//!
//! In: an expression and a link type. Out: instructions, or the message of libpcap. Called once, at start.
//!
//! Unsafe: a C library is loaded by name and called.
#![allow(unsafe_code, reason = "libpcap is a C library, loaded while running")]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};

use libloading::{Library, Symbol};

use super::{DataLink, FilterError, classic::RawInstruction};

/// Its names: Debian and what comes from it; everybody else.
const NAMES: [&str; 2] = ["libpcap.so.0.8", "libpcap.so.1"];
/// What a match returns; also the longest packet (MAXIMUM_SNAPLEN).
const SNAP_LENGTH: c_int = 262_144;
/// PCAP_NETMASK_UNKNOWN: `ip broadcast` is refused, everything else does not ask for it.
const NO_NETMASK: u32 = u32::MAX;

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

/// `struct bpf_program`.
#[repr(C)]
struct Program {
    length: c_uint,
    instructions: *mut Instruction,
}

type OpenDead = unsafe extern "C" fn(c_int, c_int) -> *mut c_void;
type Compile = unsafe extern "C" fn(*mut c_void, *mut Program, *const c_char, c_int, u32) -> c_int;
type ErrorText = unsafe extern "C" fn(*mut c_void) -> *const c_char;
type FreeCode = unsafe extern "C" fn(*mut Program);
type Close = unsafe extern "C" fn(*mut c_void);

/// The library.
pub(super) struct Libpcap {
    library: Library,
}

impl Libpcap {
    /// Loads it.
    pub(super) fn load() -> Result<Self, FilterError> {
        // It would bring a second C library into the process, of whatever version.
        if cfg!(target_feature = "crt-static") {
            return Err(FilterError::StaticBinary);
        }
        let mut reason = String::new();
        for name in NAMES {
            // SAFETY: the constructors of libpcap and of the libraries that it uses have no conditions.
            match unsafe { Library::new(name) } {
                Ok(library) => return Ok(Self { library }),
                Err(error) if reason.is_empty() => reason = error.to_string(),
                Err(_) => {}
            }
        }
        Err(FilterError::NoLibrary { reason })
    }

    /// Compiles an expression, with libpcap's optimiser.
    pub(super) fn compile(
        &self,
        expression: &str,
        link: DataLink,
    ) -> Result<Vec<RawInstruction>, FilterError> {
        let refused = |reason: &str| FilterError::Refused {
            expression: expression.to_owned(),
            link: link.name(),
            reason: reason.to_owned(),
        };
        let text = CString::new(expression).map_err(|_| refused("it holds a NUL character"))?;
        let open: Symbol<'_, OpenDead> = self.symbol(c"pcap_open_dead")?;
        let compile: Symbol<'_, Compile> = self.symbol(c"pcap_compile")?;
        let error_text: Symbol<'_, ErrorText> = self.symbol(c"pcap_geterr")?;
        let free: Symbol<'_, FreeCode> = self.symbol(c"pcap_freecode")?;
        let close: Symbol<'_, Close> = self.symbol(c"pcap_close")?;

        // SAFETY: it takes any two numbers.
        let handle = unsafe { open(link.number(), SNAP_LENGTH) };
        if handle.is_null() {
            return Err(refused("libpcap has no memory"));
        }
        let mut program = Program { length: 0, instructions: std::ptr::null_mut() };
        // SAFETY: the handle is open (not null, above), the text ends with NUL and both outlive the call.
        let failed = unsafe { compile(handle, &raw mut program, text.as_ptr(), 1, NO_NETMASK) } != 0;
        let result = if failed {
            // SAFETY: the text is that of the open handle, ends with NUL, and is copied before it is closed.
            let reason = unsafe { CStr::from_ptr(error_text(handle)) };
            Err(refused(&reason.to_string_lossy()))
        } else if program.instructions.is_null() {
            Ok(Vec::new())
        } else {
            // SAFETY: a successful compilation leaves that many instructions there, copied before they are freed.
            let instructions =
                unsafe { std::slice::from_raw_parts(program.instructions, program.length as usize) };
            Ok(instructions.iter().map(raw).collect())
        };
        if !failed {
            // SAFETY: filled by a successful compilation, freed once.
            unsafe { free(&raw mut program) };
        }
        // SAFETY: open until here, not used again.
        unsafe { close(handle) };
        result
    }

    fn symbol<T>(&self, name: &CStr) -> Result<Symbol<'_, T>, FilterError> {
        // SAFETY: the types above are those of pcap(3) for these names, unchanged since libpcap 1.0.
        unsafe { self.library.get(name) }
            .map_err(|error| FilterError::NoLibrary { reason: error.to_string() })
    }
}

fn raw(instruction: &Instruction) -> RawInstruction {
    RawInstruction {
        code: instruction.code,
        jump_true: instruction.jt,
        jump_false: instruction.jf,
        k: instruction.k,
    }
}

//! Whether something keeps the wall clock right, as the kernel knows it.
//!
//! Unsafe: adjtimex(2), which no crate in use offers, fills a structure of this file.
#![allow(unsafe_code, reason = "adjtimex(2) has no safe wrapper")]

/// Asks the kernel (adjtimex(2), which changes nothing here); `None` where it does not answer.
pub(super) fn is_synchronised() -> Option<bool> {
    // SAFETY: it is plain integers, for which zero is a value; `modes` 0 asks only.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `state` outlives the call, which writes into it alone.
    match unsafe { libc::adjtimex(&raw mut state) } {
        libc::TIME_ERROR => Some(false),
        -1 => None,
        _ => Some(true),
    }
}

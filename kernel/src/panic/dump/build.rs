// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which build of the kernel this is: the linker's hash of it, which its ELF file bears, too.
use super::format::BuildId;
use bsp::mmu::symbol;

/// An ELF note is three words, the owner's name ("GNU" and a zero), and then what it says.
const ID_AT: usize = 16;

/// This build.
pub fn id() -> BuildId {
    let id = (symbol::build_id() + ID_AT) as *const [u8; 20];
    // SAFETY: the linker has put its note there, among the constants; bytes have no alignment.
    BuildId(unsafe { *id })
}

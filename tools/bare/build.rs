// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links the programs as the kernel is linked, when they are built for the board.
fn main() {
    println!("cargo:rerun-if-changed=../../bsp/link.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bsp/link.ld");
        println!("cargo:rustc-link-arg-bins=-T{}", script.display());
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links the kernel with the board's linker script when it is built for the board.
fn main() {
    println!("cargo:rerun-if-changed=../bsp/link.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../bsp/link.ld");
        println!("cargo:rustc-link-arg-bins=-T{}", script.display());
        // A crash dump names the build that it is of.
        println!("cargo:rustc-link-arg-bins=--build-id=sha1");
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! An spl given back as another domain's.
//@ error: E0308
use world::*;

pub fn pair() {
    let disk = splbio::<Kernel>();
    splx::<Net, Kernel>(disk); //~ bad
    splx::<Bio, Kernel>(disk); //~ good
}

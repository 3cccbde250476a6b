// SPDX-License-Identifier: MIT OR Apache-2.0
//! An spl given back twice.
//@ error: E0382
use world::*;

pub fn pair() {
    let outer = splnet::<Kernel>();
    let inner = splnet::<Kernel>();
    splx::<_, Kernel>(outer);
    splx::<_, Kernel>(outer); //~ bad
    splx::<_, Kernel>(inner); //~ good
}

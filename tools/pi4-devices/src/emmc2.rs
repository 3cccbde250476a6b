// SPDX-License-Identifier: GPL-2.0-or-later
//! `pi4-emmc2`: the card's controller with DMA, at the board's address, with the card on it.
//!
//! QEMU's raspi4b has an SDHCI at this address, too, whose capabilities offer no DMA; and it puts
//! the card on the older controller. This is QEMU's own SDHCI once more, with the capabilities
//! that the board's shows, mapped over the first; the card is moved to it.
//!
//! The interrupt goes to EMMC2's input of the gate that joins both controllers to SPI 126: on its
//! own input, so that the older controller cannot pull the line down.

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::board::{self, Board};
use crate::qemu::{self, Errp, Object, Qemu, Realize, TypeInfo, qemu};
use crate::sdma;

const ADDRESS: u64 = 0xfe34_0000;
/// The board shows 0x45ee6432: SDMA, 32-bit ADMA2, high speed, 8 bits, 3.3 and 1.8 V, 100 MHz. QEMU
/// refuses the slot's type (bits 31 and 30, here 01 for an embedded one).
const CAPABILITIES: u64 = 0x05ee_6432;

static THERE: AtomicBool = AtomicBool::new(false);

/// Tells QEMU of the type.
pub fn register(q: &Qemu) {
    let info = TypeInfo::device(c"pi4-emmc2", class_init);
    // SAFETY: QEMU copies the description; its strings are constants.
    unsafe { (q.type_register_static)(&info) };
}

unsafe extern "C" fn class_init(class: *mut Object, _: *const c_void) {
    let mut parent: Option<Realize> = None;
    // SAFETY: QEMU hands its new class. The parent, a plain device, has nothing to realize.
    unsafe { (qemu().device_class_set_parent_realize)(class, realize, &mut parent) };
}

unsafe extern "C" fn realize(owner: *mut Object, errp: Errp) {
    if THERE.swap(true, Ordering::SeqCst) {
        return qemu::fail(errp, "the board has one EMMC2, and it is there already");
    }
    if let Err(message) = insert(owner, errp) {
        qemu::fail(errp, &message);
    }
}

/// An error that QEMU reports is in `errp` already; others are returned.
fn insert(owner: *mut Object, errp: Errp) -> Result<(), String> {
    let q = qemu();
    let board = Board::find()?;
    let gpio = board::object(c"/machine/soc/peripherals/gpio");
    let gate = board::object(c"/machine/soc/peripherals/mmc_irq_orgate");
    let (Some(gpio), Some(gate)) = (gpio, gate) else {
        return Err("this raspi4b has no GPIO, or no gate for the card's interrupt".into());
    };
    // SAFETY: the objects are the machine's and stay; names are C strings; the controller is
    // realized before its window, interrupt and bus are asked for. The machine's lock is held.
    unsafe {
        let sdhci = (q.qdev_new)(c"generic-sdhci".as_ptr());
        (q.object_property_add_child)(board.peripherals(), c"pi4-emmc2".as_ptr(), sdhci);
        let set =
            |name: &CStr, value| (q.object_property_set_uint)(sdhci, name.as_ptr(), value, errp);
        if !set(c"sd-spec-version", 3)
            || !set(c"capareg", CAPABILITIES)
            || !(q.sysbus_realize_and_unref)(sdhci, errp)
        {
            return Ok(());
        }
        let region = (q.sysbus_mmio_get_region)(sdhci, 0);
        board::map(region, ADDRESS, 0);
        sdma::repair(owner, sdhci, region, ADDRESS)?;
        (q.sysbus_connect_irq)(sdhci, 0, (q.qdev_get_gpio_in)(gate, 0));
        // Until the first reset the card is on the GPIO's own bus. From now on the GPIO finds
        // none there, and its moves between the older controllers do nothing.
        (q.sdbus_reparent_card)(
            (q.qdev_get_child_bus)(gpio, c"sd-bus".as_ptr()),
            (q.qdev_get_child_bus)(sdhci, c"sd-bus".as_ptr()),
        );
    }
    Ok(())
}

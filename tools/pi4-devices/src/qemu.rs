// SPDX-License-Identifier: GPL-2.0-or-later
//! The part of QEMU 10.0 that the devices use: its functions, and the layout of what it reads.
//!
//! # Theory
//! Debian's QEMU exports its functions to shared objects. They are looked up by name when the
//! object is loaded, all or none: so that an object that is preloaded into another program,
//! or into a QEMU without one of them, says so and does nothing, and the loader does not end the
//! program. The signatures and layouts are written by hand for 10.0; `version` refuses others.
//!
//! # Contexts
//! QEMU calls its devices with its big lock held, from a CPU's thread or from the main loop.

mod sysreg;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

pub use sysreg::SystemRegister;

/// QEMU's objects, seen from here: an address.
pub type Object = c_void;
/// Where a failing call leaves its error.
pub type Errp = *mut *mut c_void;
/// A net client: its description, then whether the user took its link down.
#[repr(C)]
pub struct NetClient {
    info: *const NetClientInfo,
    pub link_down: c_int,
}

/// How a type is told to QEMU.
#[repr(C)]
pub struct TypeInfo {
    pub name: *const c_char,
    pub parent: *const c_char,
    /// 0: that of the parent.
    pub instance_size: usize,
    pub instance_align: usize,
    pub instance_init: *const c_void,
    pub instance_post_init: *const c_void,
    pub instance_finalize: *const c_void,
    pub is_abstract: bool,
    /// 0: that of the parent.
    pub class_size: usize,
    pub class_init: unsafe extern "C" fn(*mut Object, *const c_void),
    pub class_base_init: *const c_void,
    pub class_data: *const c_void,
    pub interfaces: *const c_void,
}

impl TypeInfo {
    /// A device that `-device` can make, on no bus, as large as any device; `class_init` gets the data.
    pub fn device(
        name: &'static CStr,
        class_init: unsafe extern "C" fn(*mut Object, *const c_void),
        class_data: *const c_void,
    ) -> Self {
        let nothing = std::ptr::null();
        Self {
            name: name.as_ptr(),
            parent: c"device".as_ptr(),
            instance_size: 0,
            instance_align: 0,
            instance_init: nothing,
            instance_post_init: nothing,
            instance_finalize: nothing,
            is_abstract: false,
            class_size: 0,
            class_init,
            class_base_init: nothing,
            class_data,
            interfaces: nothing,
        }
    }
}

/// A class's or a device's way to become real.
pub type Realize = unsafe extern "C" fn(*mut Object, Errp);

/// Which accesses a window takes, in bytes.
#[repr(C)]
pub struct Valid {
    pub min: u32,
    pub max: u32,
    pub unaligned: bool,
    pub accepts: *const c_void,
}

/// Which accesses its functions take; QEMU splits and joins the others.
#[repr(C)]
pub struct Implemented {
    pub min: u32,
    pub max: u32,
    pub unaligned: bool,
}

/// A window of registers.
#[repr(C)]
pub struct MemoryRegionOps {
    pub read: unsafe extern "C" fn(*mut c_void, u64, u32) -> u64,
    pub write: unsafe extern "C" fn(*mut c_void, u64, u64, u32),
    pub read_with_attrs: *const c_void,
    pub write_with_attrs: *const c_void,
    pub endianness: c_int,
    pub valid: Valid,
    pub implemented: Implemented,
}

// SAFETY: it is made of constants that nobody writes to.
unsafe impl Sync for MemoryRegionOps {}

impl MemoryRegionOps {
    /// Accesses of every width reach the functions: a model names those that are wrong.
    pub const fn of_any_width(
        read: unsafe extern "C" fn(*mut c_void, u64, u32) -> u64,
        write: unsafe extern "C" fn(*mut c_void, u64, u64, u32),
    ) -> Self {
        Self {
            read,
            write,
            read_with_attrs: std::ptr::null(),
            write_with_attrs: std::ptr::null(),
            endianness: LITTLE_ENDIAN,
            valid: Valid {
                min: 1,
                max: 8,
                unaligned: true,
                accepts: std::ptr::null(),
            },
            implemented: Implemented {
                min: 1,
                max: 8,
                unaligned: true,
            },
        }
    }
}

/// `DEVICE_LITTLE_ENDIAN`.
const LITTLE_ENDIAN: c_int = 2;

/// Room for QEMU's `MemoryRegion`, which has 0x110 bytes.
#[repr(C, align(16))]
pub struct MemoryRegion([u8; 0x200]);

impl MemoryRegion {
    pub const fn new() -> Self {
        Self([0; 0x200])
    }
}

/// Room for QEMU's `QEMUTimer`, which has 0x30 bytes.
#[repr(C, align(16))]
pub struct Timer([u8; 0x80]);

impl Timer {
    pub const fn new() -> Self {
        Self([0; 0x80])
    }
}

/// `QEMU_CLOCK_VIRTUAL`: the guest's time.
pub const CLOCK_VIRTUAL: c_int = 1;

/// `SHUTDOWN_CAUSE_GUEST_SHUTDOWN`.
pub const GUEST_SHUTDOWN: c_int = 6;
/// `SHUTDOWN_CAUSE_GUEST_RESET`.
pub const GUEST_RESET: c_int = 7;

/// What a network card does for QEMU's network code.
#[repr(C)]
pub struct NetClientInfo {
    pub kind: c_int,
    /// Bytes of QEMU's own state of a card.
    pub size: usize,
    pub receive: unsafe extern "C" fn(*mut NetClient, *const u8, usize) -> isize,
    pub receive_iov: *const c_void,
    pub can_receive: unsafe extern "C" fn(*mut NetClient) -> bool,
    pub start: *const c_void,
    pub load: *const c_void,
    pub stop: *const c_void,
    pub cleanup: *const c_void,
    pub link_status_changed: unsafe extern "C" fn(*mut NetClient),
    /// Further functions, none of which is needed, with room for more than there are.
    pub others: [*const c_void; 24],
}

// SAFETY: it is made of constants that nobody writes to.
unsafe impl Sync for NetClientInfo {}

/// `NET_CLIENT_DRIVER_NIC`.
pub const NET_CLIENT_NIC: c_int = 1;
/// `sizeof(NICState)`.
pub const NIC_STATE_BYTES: usize = 0x28;

/// QEMU's mark that it is inside a card's `receive`, one byte: while it is set, frames are queued.
#[repr(C, align(8))]
pub struct ReentrancyGuard([u8; 8]);

impl ReentrancyGuard {
    pub const fn new() -> Self {
        Self([0; 8])
    }
}

/// A card's connections.
#[repr(C)]
pub struct NicConf {
    pub mac: [u8; 6],
    pub peers: [*mut NetClient; 1024],
    pub queues: i32,
    pub bootindex: i32,
}

/// QEMU's answer about itself.
#[repr(C)]
pub struct VersionInfo {
    qemu: *const [i64; 3],
    package: *const c_char,
}

/// `MEMTXATTRS_UNSPECIFIED`: a bit field of 8 bytes.
pub const MEMTX_UNSPECIFIED: u64 = 1;

macro_rules! functions {
    ($(fn $name:ident($($arg:ty),*) $(-> $ret:ty)?;)*) => {
        /// QEMU's functions.
        #[allow(missing_docs, reason = "the names are QEMU's")]
        pub struct Qemu {
            $(pub $name: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)*
            pub error_setg_internal:
                unsafe extern "C" fn(Errp, *const c_char, c_int, *const c_char, *const c_char, ...),
            pub qemu_log: unsafe extern "C" fn(*const c_char, ...),
            pub qemu_loglevel: *const c_int,
            pub address_space_memory: *mut c_void,
        }

        impl Qemu {
            fn load() -> Result<Self, &'static CStr> {
                Ok(Self {
                    // SAFETY: the symbol is the function of this name, and `version` has the
                    // devices refuse a QEMU whose functions may have another signature.
                    $($name: unsafe {
                        std::mem::transmute::<
                            *mut c_void,
                            unsafe extern "C" fn($($arg),*) $(-> $ret)?,
                        >(symbol(c_name!($name))?)
                    },)*
                    // SAFETY: as above; this one takes a format and its arguments.
                    error_setg_internal: unsafe {
                        std::mem::transmute::<
                            *mut c_void,
                            unsafe extern "C" fn(
                                Errp, *const c_char, c_int, *const c_char, *const c_char, ...
                            ),
                        >(symbol(c"error_setg_internal")?)
                    },
                    // SAFETY: as above.
                    qemu_log: unsafe {
                        std::mem::transmute::<
                            *mut c_void,
                            unsafe extern "C" fn(*const c_char, ...),
                        >(symbol(c"qemu_log")?)
                    },
                    qemu_loglevel: symbol(c"qemu_loglevel")?.cast(),
                    address_space_memory: symbol(c"address_space_memory")?,
                })
            }
        }
    };
}

macro_rules! c_name {
    ($name:ident) => {
        // A literal with its terminating zero is a C string.
        CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()).unwrap_or_default()
    };
}

functions! {
    fn type_register_static(*const TypeInfo) -> *mut c_void;
    fn device_class_set_parent_realize(*mut Object, Realize, *mut Option<Realize>);
    fn object_class_property_add_str(
        *mut Object,
        *const c_char,
        Option<unsafe extern "C" fn(*mut Object, Errp) -> *mut c_char>,
        Option<unsafe extern "C" fn(*mut Object, *const c_char, Errp)>
    ) -> *mut c_void;
    fn object_class_property_set_description(*mut Object, *const c_char, *const c_char);
    fn object_resolve_path(*const c_char, *mut bool) -> *mut Object;
    fn g_strdup(*const c_char) -> *mut c_char;
    fn qdev_get_gpio_in(*mut Object, c_int) -> *mut c_void;
    fn qdev_get_child_bus(*mut Object, *const c_char) -> *mut c_void;
    fn qemu_set_irq(*mut c_void, c_int);
    fn qemu_system_reset_request(c_int);
    fn qemu_system_shutdown_request(c_int);
    fn qemu_register_reset(unsafe extern "C" fn(*mut c_void), *mut c_void);
    fn sdbus_reparent_card(*mut c_void, *mut c_void);
    fn drive_get(c_int, c_int, c_int) -> *mut c_void;
    fn blk_by_legacy_dinfo(*mut c_void) -> *mut c_void;
    fn blk_getlength(*mut c_void) -> i64;
    fn blk_pread(*mut c_void, i64, i64, *mut c_void, c_int) -> c_int;
    fn blk_pwrite(*mut c_void, i64, i64, *const c_void, c_int) -> c_int;
    fn blk_pwrite_zeroes(*mut c_void, i64, i64, c_int) -> c_int;
    fn blk_flush(*mut c_void) -> c_int;
    fn get_system_memory() -> *mut MemoryRegion;
    fn memory_region_init_io(
        *mut MemoryRegion, *mut Object, *const MemoryRegionOps, *mut c_void, *const c_char, u64
    );
    fn memory_region_add_subregion_overlap(*mut MemoryRegion, u64, *mut MemoryRegion, c_int);
    fn address_space_rw(*mut c_void, u64, u64, *mut c_void, u64, bool) -> u32;
    fn timer_init_full(
        *mut Timer, *mut c_void, c_int, c_int, c_int,
        unsafe extern "C" fn(*mut c_void), *mut c_void
    );
    fn timer_mod_ns(*mut Timer, i64);
    fn timer_del(*mut Timer);
    fn qemu_clock_get_ns(c_int) -> i64;
    fn qemu_bh_new_full(
        unsafe extern "C" fn(*mut c_void), *mut c_void, *const c_char, *mut c_void
    ) -> *mut c_void;
    fn qemu_bh_schedule(*mut c_void);
    fn qemu_set_fd_handler(
        c_int,
        Option<unsafe extern "C" fn(*mut c_void)>,
        Option<unsafe extern "C" fn(*mut c_void)>,
        *mut c_void
    );
    fn icount_get_raw() -> i64;
    fn qemu_find_netdev(*const c_char) -> *mut NetClient;
    fn qemu_new_nic(
        *const NetClientInfo, *mut NicConf, *const c_char, *const c_char, *mut ReentrancyGuard,
        *mut c_void
    ) -> *mut c_void;
    fn qemu_get_queue(*mut c_void) -> *mut NetClient;
    fn qemu_format_nic_info_str(*mut NetClient, *const u8);
    fn qemu_send_packet(*mut NetClient, *const u8, c_int) -> isize;
    fn qemu_flush_queued_packets(*mut NetClient);
    fn qemu_get_cpu(c_int) -> *mut c_void;
    fn arm_cpu_mp_affinity(*mut c_void) -> u64;
    fn arm_reset_cpu(u64) -> c_int;
    fn define_one_arm_cp_reg_with_opaque(*mut c_void, *const SystemRegister, *mut c_void);
    fn qmp_query_version(Errp) -> *const VersionInfo;
}

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

fn symbol(name: &'static CStr) -> Result<*mut c_void, &'static CStr> {
    // SAFETY: the name is a C string, and the null handle is RTLD_DEFAULT: all that is loaded.
    let found = unsafe { dlsym(std::ptr::null_mut(), name.as_ptr()) };
    if found.is_null() {
        Err(name)
    } else {
        Ok(found)
    }
}

/// Whether this program is a QEMU at all.
pub fn is_here() -> bool {
    symbol(c"type_register_static").is_ok() && symbol(c"get_system_memory").is_ok()
}

static QEMU: OnceLock<Qemu> = OnceLock::new();

// SAFETY: functions' addresses, and that of an object that only QEMU looks into.
unsafe impl Send for Qemu {}
// SAFETY: as above; nothing in it is ever written.
unsafe impl Sync for Qemu {}

/// Looks QEMU's functions up; the name of the first that is missing.
pub fn load() -> Result<&'static Qemu, &'static CStr> {
    let loaded = Qemu::load()?;
    Ok(QEMU.get_or_init(|| loaded))
}

/// QEMU's functions, for those whom QEMU calls: then they were loaded.
pub fn qemu() -> &'static Qemu {
    QEMU.get()
        .expect("QEMU calls only what was registered with it")
}

/// Why a device cannot become real, in QEMU's form.
pub fn fail(errp: Errp, message: &str) {
    let message: Vec<u8> = message.bytes().filter(|b| *b != 0).chain([0]).collect();
    // SAFETY: `errp` is QEMU's; the format takes one C string, which QEMU copies.
    unsafe {
        (qemu().error_setg_internal)(
            errp,
            c"pi4-devices".as_ptr(),
            0,
            c"realize".as_ptr(),
            c"%s".as_ptr(),
            message.as_ptr(),
        );
    }
}

/// `LOG_GUEST_ERROR`.
const LOG_GUEST_ERROR: c_int = 1 << 11;

/// Has a timer fire at `at_ns`, or not at all.
///
/// # Safety
/// The timer was initialised, and stays; the big lock is held.
pub unsafe fn set_timer(timer: *mut Timer, at_ns: Option<u64>) {
    // SAFETY: the caller's promise.
    unsafe {
        match at_ns {
            Some(at_ns) => (qemu().timer_mod_ns)(timer, i64::try_from(at_ns).unwrap_or(i64::MAX)),
            None => (qemu().timer_del)(timer),
        }
    }
}

/// Says what the guest did wrong, where `-d guest_errors` asks for it.
pub fn log_guest_error(message: &str) {
    let message: Vec<u8> = message.bytes().filter(|b| *b != 0).chain([0]).collect();
    // SAFETY: the level is a number of QEMU's; the format takes one C string.
    unsafe {
        if *qemu().qemu_loglevel & LOG_GUEST_ERROR != 0 {
            (qemu().qemu_log)(c"%s".as_ptr(), message.as_ptr());
        }
    }
}

/// The running QEMU's version.
pub fn version() -> [i64; 3] {
    // SAFETY: QEMU gives a structure of its own, which holds three numbers and is never freed here.
    unsafe {
        let info = (qemu().qmp_query_version)(std::ptr::null_mut());
        *(*info).qemu
    }
}

/// Reads or writes guest memory; false where there is none.
///
/// # Safety
/// `buffer` is valid for `bytes`, for writing too if the guest is read.
pub unsafe fn guest_memory(address: u64, buffer: *mut u8, bytes: usize, write: bool) -> bool {
    let q = qemu();
    // SAFETY: the caller's promise; QEMU checks the guest's addresses itself.
    let result = unsafe {
        (q.address_space_rw)(
            q.address_space_memory,
            address,
            MEMTX_UNSPECIFIED,
            buffer.cast(),
            bytes as u64,
            write,
        )
    };
    result == 0
}

//! The tile registers of Intel AMX: whether they may be used, and how they are laid out.
//!
//! Tile registers are state of the thread. Whoever runs kernels on them holds a [`TileRegisters`]
//! meanwhile: it forgets what other code left in them before, and gives them back afterwards.
//! Reference: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.

#[cfg(target_arch = "x86_64")]
use std::arch::asm;
use std::cell::Cell;

/// What stands between a CPU's tile registers and their use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// They may be used.
    Available,
    /// The CPU has none.
    Absent,
    /// The CPU has them, and the operating system or the hypervisor does not save them.
    NotSaved,
    /// The operating system refuses this process.
    Denied,
}

/// Whether this process may use tile registers. Asked of the operating system once; the answer holds
/// for all threads.
pub fn availability() -> Availability {
    #[cfg(target_arch = "x86_64")]
    {
        static KNOWN: std::sync::OnceLock<Availability> = std::sync::OnceLock::new();
        *KNOWN.get_or_init(x86::availability)
    }
    #[cfg(not(target_arch = "x86_64"))]
    Availability::Absent
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::detected;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Availability;
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    /// Bits of leaf 7, register EDX.
    const BF16: u32 = 22;
    const TILE: u32 = 24;
    const INT8: u32 = 25;
    /// Components of the extended state: tile configuration and tile data.
    const STATE: u64 = 1 << 17 | 1 << 18;

    /// Leaf 7, register EDX.
    fn leaf_7() -> u32 {
        if __cpuid(0).eax < 7 { 0 } else { __cpuid_count(7, 0).edx }
    }

    /// Whether the feature of that name may be used.
    pub(crate) fn detected(name: &str) -> bool {
        let bit = match name {
            "amx-bf16" => BF16,
            "amx-int8" => INT8,
            "amx-tile" => TILE,
            _ => return false,
        };
        leaf_7() >> bit & 1 == 1 && super::availability() == Availability::Available
    }

    pub(super) fn availability() -> Availability {
        if leaf_7() >> TILE & 1 == 0 {
            return Availability::Absent;
        }
        // SAFETY: OSXSAVE says that the instruction exists.
        let saved = __cpuid(1).ecx >> 27 & 1 == 1 && unsafe { state() } & STATE == STATE;
        match (saved, permitted()) {
            (false, _) => Availability::NotSaved,
            (true, false) => Availability::Denied,
            (true, true) => Availability::Available,
        }
    }

    /// Components of the extended state that the operating system saves.
    /// Safety: the CPU must have XSAVE, and the operating system use it.
    #[target_feature(enable = "xsave")]
    unsafe fn state() -> u64 {
        // SAFETY: passed on from the caller.
        unsafe { _xgetbv(0) }
    }

    /// Asks for permission, where it has to be asked for (Documentation/arch/x86/xstate.rst).
    #[cfg(target_os = "linux")]
    fn permitted() -> bool {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const TILE_DATA: libc::c_long = 18;
        // SAFETY: the call reads and writes no memory of this process.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
    }

    #[cfg(not(target_os = "linux"))]
    fn permitted() -> bool {
        cfg!(target_os = "windows")
    }
}

/// The tile registers of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// How many [`TileRegisters`] there are.
    held: u32,
    /// What they are laid out for; 0 is unknown.
    layout: u32,
    /// Whether they have to be given back.
    used: bool,
}

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State { held: 0, layout: 0, used: false }) };
}

/// The right of the current thread to use its tile registers until it is dropped; nothing on CPUs that
/// have none.
pub struct TileRegisters {
    /// It belongs to its thread.
    _thread: std::marker::PhantomData<*const ()>,
}

impl TileRegisters {
    /// Takes the registers of this thread.
    pub fn hold() -> Self {
        let state = STATE.get();
        STATE.set(State { held: state.held + 1, layout: 0, ..state });
        TileRegisters { _thread: std::marker::PhantomData }
    }
}

impl Drop for TileRegisters {
    fn drop(&mut self) {
        let State { held, used, .. } = STATE.get();
        STATE.set(State { held: held - 1, layout: 0, used: false });
        #[cfg(target_arch = "x86_64")]
        if used {
            // SAFETY: a layout was loaded, so the CPU has tile registers; nothing is kept in them.
            unsafe { asm!("tilerelease", options(nostack, nomem)) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        debug_assert!(!used, "tile registers that there are not");
    }
}

/// The memory operand of `ldtilecfg`.
#[cfg(target_arch = "x86_64")]
#[repr(C, align(64))]
pub(crate) struct Layout {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

#[cfg(target_arch = "x86_64")]
impl Layout {
    /// Tiles 0 to 7, each of so many rows and bytes a row; those of no rows are not used.
    pub(crate) fn new(tiles: [(usize, usize); 8]) -> Self {
        let mut layout =
            Layout { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        for (i, (rows, bytes)) in tiles.into_iter().enumerate().filter(|(_, t)| t.0 > 0) {
            (layout.rows[i], layout.row_bytes[i]) = (rows as u8, bytes as u16);
        }
        layout
    }

    /// Whether every tile fits a register of 16 rows of 64 bytes.
    #[cfg(test)]
    pub(crate) fn fits(&self) -> bool {
        self.rows.iter().all(|r| *r <= 16) && self.row_bytes.iter().all(|b| *b <= 64 && b % 4 == 0)
    }
}

/// Sees to it that the tile registers are laid out as `layout` says, which `key`, above 0, stands for.
///
/// # Safety
/// The CPU must have AMX and the process the permission; a [`TileRegisters`] must be held. What the
/// registers held is lost.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) unsafe fn lay_out(key: u32, layout: impl FnOnce() -> Layout) {
    let state = STATE.get();
    debug_assert!(state.held > 0, "tile registers are used that nobody holds");
    if state.layout != key {
        let layout = layout();
        // SAFETY: a valid layout; the rest is the caller's.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &layout, options(nostack, readonly)) };
        STATE.set(State { layout: key, used: true, ..state });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_agrees_with_what_the_system_lists() {
        let Ok(info) = std::fs::read_to_string("/proc/cpuinfo") else { return };
        let listed = info.lines().any(|l| l.starts_with("flags") && l.contains(" amx_tile"));
        // The list leaves out what the system does not save.
        assert_eq!(listed, matches!(availability(), Availability::Available | Availability::Denied));
    }

    #[test]
    fn registers_may_be_held_twice() {
        let outer = TileRegisters::hold();
        drop(TileRegisters::hold());
        assert_eq!(STATE.get().held, 1);
        drop(outer);
        assert_eq!(STATE.get(), State { held: 0, layout: 0, used: false });
    }
}

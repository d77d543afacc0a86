//! Which variant of the kernels suits an adapter.

use std::cell::Cell;

use cubecl::client::Client;

/// Variants of the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Registers alone and workgroups of one SIMD group, for software adapters.
    Register,
    /// Workgroup memory, for real GPUs.
    Shared,
}

thread_local! {
    /// What was chosen for the one device of this thread; a worker opens no other.
    static PREFERRED: Cell<Option<Variant>> = const { Cell::new(None) };
}

impl Variant {
    pub const ALL: [Self; 2] = [Self::Register, Self::Shared];

    /// Uses a variant from now on, on this thread; `None` for what the adapter's properties suggest.
    pub fn prefer(variant: Option<Self>) {
        PREFERRED.set(variant);
    }

    /// The variant in use.
    pub fn of(client: &Client) -> Self {
        PREFERRED.get().unwrap_or_else(|| Self::suggested(client))
    }

    /// By the width of a SIMD group: a CPU's vector, or a GPU's.
    fn suggested(client: &Client) -> Self {
        const WIDEST_CPU_VECTOR: u32 = 4;
        let widest = client.properties().hardware.plane_size_max;
        if widest <= WIDEST_CPU_VECTOR {
            Self::Register
        } else {
            Self::Shared
        }
    }
}

//! Chooses the variant of the kernels that suits a GPU.

use std::cell::Cell;

use cubecl::client::Client;

/// Variants of the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Registers only and workgroups of one SIMD group, for software GPUs.
    Register,
    /// Workgroup memory, for real GPUs.
    Shared,
}

thread_local! {
    /// The choice for the only device of this thread; a worker opens no other.
    static PREFERRED: Cell<Option<Variant>> = const { Cell::new(None) };
}

impl Variant {
    pub const ALL: [Self; 2] = [Self::Register, Self::Shared];

    /// Makes this thread use a variant from now on; `None` stands for what the GPU's properties suggest.
    pub fn prefer(variant: Option<Self>) {
        PREFERRED.set(variant);
    }

    /// The variant in use.
    pub fn of(client: &Client) -> Self {
        PREFERRED.get().unwrap_or_else(|| Self::suggested(client))
    }

    /// Suggests a variant by the width of a SIMD group: a CPU's vector, or a GPU's.
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

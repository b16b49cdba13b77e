//! The instruction sets that the kernels are compiled for, and the choice among them at run time.
//!
//! [`multiversion!`] compiles a function of plain Rust once per set. Such code never contracts a product
//! and a sum into one rounding, so its results are the same on every processor; only matrix products
//! ([`super::tile`]) use fused multiply-add where there is one.

/// An instruction set that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Isa {
    /// What the compiler assumes anyway (SSE2 on `x86_64`, NEON on `aarch64`).
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, VL and DQ.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512 with products of bf16 pairs.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
}

impl Isa {
    /// The best one here.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq") {
                return if has!("avx512bf16") {
                    Self::Avx512Bf16
                } else {
                    Self::Avx512
                };
            }
            if has!("avx2") && has!("fma") {
                return Self::Avx2;
            }
        }
        Self::Portable
    }

    /// Whether products of bf16 pairs are instructions.
    pub(crate) const fn multiplies_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return matches!(self, Self::Avx512Bf16);
        #[cfg(not(target_arch = "x86_64"))]
        return false;
    }

    /// Every one here, the plainest first.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let known = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16];
        #[cfg(not(target_arch = "x86_64"))]
        let known = [Self::Portable];
        known
            .into_iter()
            .filter(|&isa| isa <= Self::best())
            .collect()
    }
}

/// Whether this processor has products of bf16 pairs as instructions.
pub fn multiplies_bf16() -> bool {
    Isa::best().multiplies_bf16()
}

/// Compiles a function once per instruction set; its first argument chooses.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($isa:ident: Isa $(, $arg:ident: $ty:ty)* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($isa: Isa $(, $arg: $ty)*) $(-> $ret)? {
            #[inline(always)]
            fn portable($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    portable($($arg),*)
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    portable($($arg),*)
                }
                #[expect(unsafe_code, reason = "calls code for instructions that the processor has")]
                match $isa {
                    Isa::Portable => {}
                    // SAFETY: the values of `Isa` exist only where the processor has these instructions.
                    Isa::Avx2 => return unsafe { avx2($($arg),*) },
                    // SAFETY: as above.
                    Isa::Avx512 | Isa::Avx512Bf16 => return unsafe { avx512($($arg),*) },
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            let Isa::Portable = $isa;
            portable($($arg),*)
        }
    };
}
pub(crate) use multiversion;

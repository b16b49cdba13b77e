//! Hot loops in the widest vector instructions of the processor.
//!
//! The same Rust source is compiled for the baseline, AVX2 and AVX-512, and one of the three is chosen
//! when it runs. The compiler neither fuses nor reorders floating-point operations, so all three give
//! the same bits.

#[cfg(any(test, target_arch = "x86_64"))]
use std::sync::atomic::{AtomicU8, Ordering};

/// The instruction sets that loops are compiled for, narrowest first.
#[cfg(any(test, target_arch = "x86_64"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Width {
    /// Instructions that every processor of the build's target has.
    Baseline = 0,
    Avx2 = 1,
    Avx512 = 2,
}

/// The widest set that may be used: a [`Width`].
#[cfg(any(test, target_arch = "x86_64"))]
static LIMIT: AtomicU8 = AtomicU8::new(Width::Avx512 as u8);

/// The widest set that this processor has.
#[cfg(target_arch = "x86_64")]
fn widest() -> Width {
    use std::is_x86_feature_detected as has;
    let avx2 = has!("avx2");
    if avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
        Width::Avx512
    } else if avx2 {
        Width::Avx2
    } else {
        Width::Baseline
    }
}

/// Runs `work` as compiled for the widest instruction set.
///
/// Only what is inlined into `work` is compiled so: write it as `simd_dispatch::run(#[inline(always)] || ...)`,
/// mark the functions that it calls `#[inline(always)]`, and write loops as `for`, since `for_each` and
/// `fold` are functions of their own.
#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(
    unsafe_code,
    reason = "calling a function that needs an instruction set is unsafe"
)]
pub(crate) fn run<R>(work: impl FnOnce() -> R) -> R {
    let limit = LIMIT.load(Ordering::Relaxed);
    match widest() {
        // SAFETY: the processor has what `avx512` is compiled for, as `widest` found.
        Width::Avx512 if limit >= Width::Avx512 as u8 => unsafe { avx512(work) },
        // SAFETY: the processor has AVX2, as `widest` found.
        Width::Avx2 | Width::Avx512 if limit >= Width::Avx2 as u8 => unsafe { avx2(work) },
        _ => work(),
    }
}

/// Runs `work`: other processors than x86-64 have one width.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn run<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GeneratorConfig, Sample, VolumeConfig, VolumeSample, generate, generate_volume};

    fn samples(limit: Width) -> Vec<Sample> {
        LIMIT.store(limit as u8, Ordering::Relaxed);
        let mut samples = Vec::new();
        for preset in ["any", "paper"] {
            let mut config = GeneratorConfig::preset(preset).unwrap();
            (config.size.height, config.size.width) = (150, 203);
            samples.extend((0..40).map(|index| generate(&config, 5, index)));
        }
        LIMIT.store(Width::Avx512 as u8, Ordering::Relaxed);
        samples
    }

    fn volumes(limit: Width) -> Vec<VolumeSample> {
        LIMIT.store(limit as u8, Ordering::Relaxed);
        let mut config = GeneratorConfig::default();
        let mut volume = VolumeConfig::default();
        (volume.size.depth, volume.size.height, volume.size.width) = (5, 60, 75);
        config.volume = Some(volume);
        let all = (0..30).map(|index| generate_volume(&config, 5, index));
        let all = all.collect();
        LIMIT.store(Width::Avx512 as u8, Ordering::Relaxed);
        all
    }

    /// Where the processor has no wider instructions this compares equals with equals.
    #[test]
    fn every_width_gives_the_same_bytes() {
        let baseline = samples(Width::Baseline);
        assert_eq!(baseline, samples(Width::Avx2));
        assert_eq!(baseline, samples(Width::Avx512));
        let baseline = volumes(Width::Baseline);
        assert_eq!(baseline, volumes(Width::Avx2));
        assert_eq!(baseline, volumes(Width::Avx512));
    }
}

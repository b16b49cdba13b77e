//! Texture fields of zero mean and unit variance.
//!
//! Grain, fractal noise, ridges and speckle come from [`crate::field`]; stripes are a sine with a
//! smooth random phase, whose table lookup avoids a transcendental function per pixel.

use std::f32::consts::{SQRT_2, TAU};
use std::sync::LazyLock;

use synthfm_image::Size;

use crate::field::{self, Field, Fractal};
use crate::params::{TextureParams, Vec2};
use crate::scratch::Buffer;
use crate::simd_dispatch;

/// Entries of one period of the sine table.
const PERIOD: usize = 1024;

static SINE: LazyLock<[f32; PERIOD]> =
    LazyLock::new(|| std::array::from_fn(|k| libm::sinf(k as f32 / PERIOD as f32 * TAU) * SQRT_2));

/// Renders a texture, in memory, for an image whose shorter side has `unit_px` pixels.
pub(crate) fn render(texture: &TextureParams, size: Size, unit_px: f32) -> Field {
    let in_px = |lengths: Vec2| lengths.map(|v| v * unit_px);
    match *texture {
        TextureParams::Grain { seed, grain } => {
            field::correlated(seed, size, in_px(grain)).in_memory(size)
        }
        TextureParams::Speckle { seed, grain } => field::rayleigh(seed, size, in_px(grain)),
        TextureParams::Fractal {
            seed,
            scale,
            octaves,
            persistence,
        } => field::fractal(
            seed,
            size,
            fractal(in_px(scale), octaves, persistence),
            false,
        ),
        TextureParams::Ridges {
            seed,
            scale,
            octaves,
            persistence,
        } => field::fractal(
            seed,
            size,
            fractal(in_px(scale), octaves, persistence),
            true,
        ),
        TextureParams::Stripes {
            seed,
            period,
            angle,
            waviness,
        } => {
            let period_px = (period * unit_px).max(2.0);
            let phase = field::smooth(seed, size, 4.0 * period_px, waviness)
                .enlarged(size)
                .data;
            stripes(phase, size, period_px, angle)
        }
    }
}

fn fractal(scale_px: Vec2, octaves: u8, persistence: f32) -> Fractal {
    Fractal {
        scale_px,
        octaves: octaves.min(12),
        persistence,
    }
}

/// Turns a phase in periods into stripes.
fn stripes(mut phase: Buffer, size: Size, period_px: f32, angle: f32) -> Field {
    let table: &[f32; PERIOD] = &SINE;
    let (sin, cos) = libm::sincosf(angle);
    let (dx, dy) = (cos / period_px, sin / period_px);
    simd_dispatch::run(
        #[inline(always)]
        || {
            for (row, line) in phase.chunks_exact_mut(size.width.max(1)).enumerate() {
                for (col, value) in line.iter_mut().enumerate() {
                    let turns = *value + row as f32 * dy + col as f32 * dx;
                    *value = table[(turns * PERIOD as f32) as i32 as usize & (PERIOD - 1)];
                }
            }
        },
    );
    Field::exact(size.width, phase)
}

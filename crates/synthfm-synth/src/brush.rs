//! From a paint to intensities at pixels.

use crate::field::Field;
use crate::params::Paint;

/// Evaluates a paint at pixels: `base + factor v`, v the texture's source.
pub(crate) struct Brush<'a> {
    base: f32,
    factor: f32,
    texture: Option<&'a [f32]>,
}

impl<'a> Brush<'a> {
    pub(crate) fn new(paint: Paint, textures: &'a [Option<Field>]) -> Self {
        let texture = textures
            .get(usize::from(paint.texture))
            .and_then(Option::as_ref)
            .filter(|_| paint.amplitude != 0.0);
        let factor = texture.map_or(0.0, |texture| paint.amplitude * texture.scale);
        Self {
            base: paint.mean - texture.map_or(0.0, |texture| factor * texture.mean),
            factor,
            texture: texture.and_then(Field::plane),
        }
    }

    pub(crate) fn at(&self, pixel: usize) -> f32 {
        match self.texture {
            Some(texture) => self.base + self.factor * texture[pixel],
            None => self.base,
        }
    }

    /// Replaces the values of consecutive pixels from `start` on by `mix(value, alpha, paint)`.
    #[inline(always)]
    pub(crate) fn visit(
        &self,
        start: usize,
        pixels: &mut [f32],
        alpha: &[f32],
        mix: impl Fn(f32, f32, f32) -> f32,
    ) {
        let pixels = pixels.iter_mut().zip(alpha);
        match self.texture {
            Some(texture) => {
                for ((value, &a), &t) in pixels.zip(&texture[start..]) {
                    *value = mix(*value, a, self.base + self.factor * t);
                }
            }
            None => {
                for (value, &a) in pixels {
                    *value = mix(*value, a, self.base);
                }
            }
        }
    }

    /// Writes the paint of consecutive pixels from `start` on.
    #[inline(always)]
    pub(crate) fn put(&self, start: usize, out: &mut [f32]) {
        match self.texture {
            Some(texture) => {
                for (value, &t) in out.iter_mut().zip(&texture[start..]) {
                    *value = self.base + self.factor * t;
                }
            }
            None => out.fill(self.base),
        }
    }

    /// Adds to the paint of `own` in consecutive pixels from `start` on the difference to this one, weighted.
    #[inline(always)]
    pub(crate) fn mix(&self, start: usize, weights: &[f32], own: &Brush<'_>, out: &mut [f32]) {
        let base = self.base - own.base;
        match (self.texture, own.texture) {
            (None, None) => {
                for (value, &w) in out.iter_mut().zip(weights) {
                    *value += w * base;
                }
            }
            (Some(texture), None) => {
                for ((value, &w), &t) in out.iter_mut().zip(weights).zip(&texture[start..]) {
                    *value += w * (base + self.factor * t);
                }
            }
            (None, Some(texture)) => {
                for ((value, &w), &t) in out.iter_mut().zip(weights).zip(&texture[start..]) {
                    *value += w * (base - own.factor * t);
                }
            }
            (Some(texture), Some(other)) => {
                let textures = texture[start..].iter().zip(&other[start..]);
                for ((value, &w), (&t, &o)) in out.iter_mut().zip(weights).zip(textures) {
                    *value += w * (base + (self.factor * t - own.factor * o));
                }
            }
        }
    }
}

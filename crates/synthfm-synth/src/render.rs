//! From a recipe to pixels, without another random choice.
//!
//! Contrast modulation, where the paper gives no formula:
//!
//! ```text
//! J(x) = sum over structures k in painting order: (1 - a_k) J + a_k (m_k + s_k T_k(x))
//! I(x) = O( V( E_n( ... E_1(J)(x) ) ) )
//! ```
//!
//! with, per structure, the coverage `a_k` (softened by its own blur), the mean
//! `m_k = m_parent ± Δ_k` (Δ from near-equal to almost full scale, either sign), texture `T_k` of unit
//! variance and amplitude `s_k`; then the effects E of the acquisition and its noise in the recipe's
//! order, the view V (stretch, window, gamma, grey levels, field of view) and the overlay O.

use synthfm_image::{Image, LabelMap};

use crate::canvas::Canvas;
use crate::params::SampleParams;
use crate::sample::Sample;
use crate::{acquisition, targets};

/// Renders a recipe that [`SampleParams::draw`] made or [`SampleParams::validate`] passed. The same
/// recipe gives the same bytes everywhere.
///
/// # Panics
/// Never for such a recipe.
pub fn render(params: &SampleParams) -> Sample {
    let mut canvas = Canvas::new(params);
    canvas.paint();
    let Canvas {
        size,
        unit_px,
        mut data,
        mut labels,
        ..
    } = canvas;
    acquisition::apply(&params.acquisition, &mut data, size, unit_px);
    if let Some(shares) = params.view.stretch {
        acquisition::stretch(shares, &mut data);
    }
    acquisition::window(&params.view, &mut data);
    if let Some(visible) = acquisition::visible(&params.view.field_of_view, size, unit_px) {
        let pixels = data.iter_mut().zip(&mut labels);
        for ((value, label), _) in pixels.zip(visible).filter(|(_, visible)| !visible) {
            *value = params.view.outside.clamp(0.0, 1.0);
            *label = 0;
        }
    }
    acquisition::draw_overlay(&params.overlay, &mut data, size, unit_px);
    let image = Image::new(size, data).expect("one value per pixel");
    let targets = targets::find(params, &image, &labels);
    Sample {
        image,
        label_map: LabelMap::new(size, labels).expect("one label per pixel"),
        targets,
    }
}

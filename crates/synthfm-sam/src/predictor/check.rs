//! Refuses prompts that the model cannot answer.

use synthfm_image::{BoxXyxy, Mask, Size};

use super::Prompts;
use crate::error::{Error, Result};

/// Refuses prompts that say nothing or point outside the image.
pub(super) fn check(prompts: &Prompts, size: Size, low_res_side: usize) -> Result<()> {
    let Prompts {
        points,
        box_,
        mask_input,
        earlier,
    } = prompts;
    if let Some(found) = earlier
        .as_ref()
        .map(Mask::size)
        .filter(|&found| found != size)
    {
        return Err(Error::EarlierSize { found, size });
    }
    if points.is_empty() && box_.is_none() && mask_input.is_none() {
        return Err(Error::EmptyPrompt);
    }
    if let Some(&(point, _)) = points.iter().find(|(point, _)| !size.contains(*point)) {
        return Err(Error::PointOutside { point, size });
    }
    if let Some(box_) = box_ {
        check_box(*box_, size)?;
    }
    let expected = low_res_side * low_res_side;
    match mask_input {
        Some(mask) if mask.len() != expected || !mask.iter().all(|v| v.is_finite()) => {
            Err(Error::BadMaskPrompt {
                expected,
                side: low_res_side,
                found: mask.len(),
            })
        }
        _ => Ok(()),
    }
}

/// A box may reach over the image's border, but must overlap it.
fn check_box(BoxXyxy { min, max }: BoxXyxy, size: Size) -> Result<()> {
    let bad = |reason| {
        Err(Error::BadBox {
            corners: [min, max],
            reason,
            size,
        })
    };
    if ![min.x, min.y, max.x, max.y].iter().all(|v| v.is_finite()) {
        return bad("corners must be finite");
    }
    if min.x > max.x || min.y > max.y {
        return bad("the first corner must be the top-left one");
    }
    let (width, height) = (size.width as f64, size.height as f64);
    if max.x < 0.0 || max.y < 0.0 || min.x > width - 1.0 || min.y > height - 1.0 {
        return bad("lies outside the image");
    }
    if min.x < -width || min.y < -height || max.x > 2.0 * width || max.y > 2.0 * height {
        return bad("reaches too far outside the image");
    }
    Ok(())
}

//! A synthetic volume as files: NIfTI image and labels in nnU-Net's layout, and its recipe.
//!
//! Images hold 0 to 255; the affine has the spacing. Value k of a label volume is the k-th target. Where targets overlap
//! the smaller one is on top, and each target that is partly covered has a file with its whole mask.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::json;
use synthfm_image::{LabelVolume, RgbImage, VolumeGeometry, encode_label_nifti_gz, write_rgb_png};
use synthfm_synth::{
    GeneratorConfig, TargetKind, VolumeParams, VolumeSample, preview, render_volume,
};

use super::files::{File, FileHash};
use super::folder;
use super::record::{case_name, recipe_name};
use super::{Format, GenerateArgs};
use crate::output::{Session, VERSION, shown, usage};
use crate::paths::Paths;

/// Recipe file of a volume.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VolumeRecord {
    /// Version of synthfm that drew it.
    pub(crate) synthfm: String,
    /// Everything that was drawn.
    pub(crate) recipe: VolumeParams,
    /// Targets in the order of their label values.
    pub(crate) targets: Vec<TargetRecord>,
    /// Other files of the volume.
    files: Vec<FileHash>,
}

/// One target in a recipe file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetRecord {
    /// Value in the label volume.
    label: u16,
    /// Identifier in the recipe.
    id: u16,
    kind: TargetKind,
    voxels: usize,
    /// First and last slice that it lies in.
    slices: [usize; 2],
    /// Slice where it has most pixels.
    largest_slice: usize,
    /// File of the target's whole mask, if other targets cover a part of it in the label volume.
    mask: Option<String>,
}

/// Refuses layouts that hold no volumes.
pub(super) fn check_format(config: &GeneratorConfig, format: Format) -> Result<()> {
    if config.volume.is_some() && format != Format::Nnunet {
        return Err(usage(
            "--volume: only --format nnunet holds volumes; leave --format out",
        ));
    }
    Ok(())
}

/// Files of a volume, the recipe last.
pub(super) fn files(params: &VolumeParams) -> Result<Vec<File>> {
    files_of(params, &render_volume(params))
}

fn files_of(params: &VolumeParams, sample: &VolumeSample) -> Result<Vec<File>> {
    let case = case_name(params.index);
    let geometry = geometry(sample)?;
    let encode = |values: Vec<u16>| -> Result<Vec<u8>> {
        let volume = LabelVolume::new(geometry.clone(), values)?;
        Ok(encode_label_nifti_gz(&volume)?)
    };
    let file = |name: String, bytes| File { name, bytes };
    let labels = sample.target_labels();
    let (mut files, mut targets) = (Vec::new(), Vec::new());
    for (label, target) in (1u16..).zip(&sample.targets) {
        let is_covered = target
            .ranges()
            .any(|range| labels[range].iter().any(|&on_top| on_top != label));
        let mask = is_covered.then(|| format!("masksTr/{case}_{label}.nii.gz"));
        if let Some(name) = &mask {
            let mut inside = vec![0; labels.len()];
            for range in target.ranges() {
                inside[range].fill(1);
            }
            files.push(file(name.clone(), encode(inside)?));
        }
        targets.push(TargetRecord {
            label,
            id: target.id,
            kind: target.kind,
            voxels: target.voxels,
            slices: target.extent(),
            largest_slice: target.largest_slice(),
            mask,
        });
    }
    let grey = |v: &f32| (v.clamp(0.0, 1.0) * 255.0).round() as u16;
    let image = encode(sample.image.iter().map(grey).collect())?;
    files.push(file(format!("imagesTr/{case}_0000.nii.gz"), image));
    files.push(file(format!("labelsTr/{case}.nii.gz"), encode(labels)?));
    let record = VolumeRecord {
        synthfm: VERSION.to_owned(),
        recipe: params.clone(),
        targets,
        files: files.iter().map(File::hash).collect(),
    };
    let mut json = serde_json::to_vec_pretty(&record).context("writing the recipe as JSON")?;
    json.push(b'\n');
    files.push(file(recipe_name(Format::Nnunet, params.index), json));
    Ok(files)
}

/// The grid of a volume: columns run left, rows back, slices up.
fn geometry(sample: &VolumeSample) -> Result<VolumeGeometry> {
    let size = sample.size;
    let [z, y, x] = sample.spacing_mm.map(f64::from);
    let shape = [size.width, size.height, size.depth];
    Ok(VolumeGeometry::with_spacing(shape, [x, y, z])?)
}

/// Three planes of volume `index`, for a contact sheet.
pub(super) fn tile(
    config: &GeneratorConfig,
    seed: u64,
    index: u64,
) -> synthfm_image::Result<RgbImage> {
    let params = VolumeParams::draw(config, seed, index);
    preview::volume_tile(&params, &render_volume(&params))
}

/// Whether the text of a recipe file describes a volume.
pub(super) fn is_volume(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "recipe")]
        _recipe: Recipe,
    }
    // Only volumes have a spacing.
    #[derive(Deserialize)]
    struct Recipe {
        #[serde(rename = "spacing_mm")]
        _spacing_mm: IgnoredAny,
    }
    serde_json::from_str::<Kind>(text).is_ok()
}

/// Renders one volume again from the text of its recipe file.
pub(super) fn render_again(
    path: &Path,
    text: &str,
    args: &GenerateArgs,
    session: &Session,
) -> Result<()> {
    let record: VolumeRecord = serde_json::from_str(text).with_context(|| {
        format!(
            "{}: a recipe of `synthfm generate --volume` expected",
            path.display()
        )
    })?;
    let params = record.recipe;
    params
        .validate()
        .with_context(|| format!("{}: the recipe", path.display()))?;
    if args.format != Format::Nnunet {
        bail!(
            "{}: the recipe of a volume, which only --format nnunet holds; leave --format out",
            path.display()
        );
    }
    if record.synthfm != VERSION {
        let version = &record.synthfm;
        session.note(&format!(
            "drawn by synthfm {version}, rendered by {VERSION}: voxels may differ"
        ));
    }
    let sample = render_volume(&params);
    if let Some(root) = &args.out {
        folder::create(root, args.format)?;
        let files = files_of(&params, &sample)?;
        let mut paths = Paths::default();
        paths.read("--recipe", path);
        for file in &files {
            paths.write("a file of --out", &root.join(&file.name))?;
        }
        files.iter().try_for_each(|file| file.write(root))?;
    }
    if let Some(sheet) = &args.preview {
        let tile = preview::volume_tile(&params, &sample)?;
        write_rgb_png(sheet, &preview::sheet(&[tile])?)?;
    }
    let result = json!({ "out": args.out.as_deref().map(shown), "preview": args.preview.as_deref().map(shown), "seed": params.seed, "index": params.index });
    session.print(&result, || {
        format!("rendered seed {}, index {}", params.seed, params.index)
    })
}

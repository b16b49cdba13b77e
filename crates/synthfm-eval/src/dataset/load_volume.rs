//! One case as a whole volume, with its structures as stacks of masks.

use std::collections::BTreeMap;

use synthfm_image::{
    ImageFile, LabelVolume, MaskStack, Plane, Presentation, RgbImage, Scan, ScanInfo, Volume,
};

use super::load::{LoadOptions, align, as_volume};
use super::source::{Channel, read_pixels, read_truth};
use super::{Case, Dataset, Structure};
use crate::Result;
use crate::evaluate::Target;

/// A volume as a segmenter sees it: axial slices, through one window.
#[derive(Debug, Clone)]
pub struct ShownVolume {
    volume: Volume,
    shown: Presentation,
}

impl ShownVolume {
    /// A volume through a window.
    pub const fn new(volume: Volume, shown: Presentation) -> Self {
        Self { volume, shown }
    }

    /// The plane of its slices.
    pub const PLANE: Plane = Plane::Axial;

    /// The volume itself.
    pub const fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Number of slices.
    pub fn slice_count(&self) -> usize {
        self.volume.geometry().slice_count(Self::PLANE)
    }

    /// A slice, counted from 0 in the order of the file.
    ///
    /// # Errors
    /// Where there is no such slice.
    pub fn slice(&self, index: usize) -> synthfm_image::Result<RgbImage> {
        let slice = self.volume.slice(Self::PLANE, index)?;
        self.shown.apply(&slice.image)
    }

    /// A stack of its slices without a structure.
    pub fn empty_stack(&self) -> MaskStack {
        MaskStack::zeros(self.volume.geometry(), Self::PLANE)
    }
}

/// A case that was read as a volume.
#[derive(Debug, Clone)]
pub struct LoadedVolume {
    /// The volume as the segmenter sees it.
    pub shown: ShownVolume,
    /// Facts about the image file beside its voxels.
    pub info: ScanInfo,
    /// The structures that the data set has.
    pub structures: Vec<Structure>,
    /// Remarks on the files for readers of the results.
    pub notes: Vec<String>,
    labels: LabelVolume,
    /// The values of a structure where they are not its label alone.
    regions: BTreeMap<u16, Vec<u16>>,
    /// Where values number objects: the label of the structure that each belongs to.
    instance_of: Option<BTreeMap<u16, u16>>,
    ignored: Option<u16>,
}

impl LoadedVolume {
    /// The objects of a structure that are not empty, each with its number: that of its component or instance from 1; 0 for
    /// the whole structure.
    pub fn objects(&self, structure: &Structure, target: Target) -> Vec<(u32, MaskStack)> {
        let owners = self.instance_of.as_ref();
        let own: Option<Vec<u16>> = owners.map(|owners| {
            let own = owners
                .iter()
                .filter(|&(_, &label)| label == structure.label);
            own.map(|(&value, _)| value).collect()
        });
        let stack = |values: &[u16]| {
            let belongs = |value: u16| values.contains(&value);
            MaskStack::of_labels(&self.labels, ShownVolume::PLANE, belongs)
        };
        let label = [structure.label];
        let region = self.regions.get(&structure.label);
        let values = region.map_or(&label[..], Vec::as_slice);
        let mut objects: Vec<(u32, MaskStack)> = match (target, &own) {
            (Target::Label, Some(own)) => vec![(0, stack(own))],
            (Target::Label | Target::Instances, None) => vec![(0, stack(values))],
            (_, Some(own)) => own.iter().map(|&v| (u32::from(v), stack(&[v]))).collect(),
            (_, None) => (1..).zip(stack(values).components()).collect(),
        };
        objects.retain(|(_, stack)| stack.voxels() > 0);
        if target == Target::Largest {
            // `max_by_key` takes the last of equals.
            let largest = objects.into_iter().rev().max_by_key(|(_, s)| s.voxels());
            objects = largest.into_iter().collect();
        }
        objects
    }

    /// Voxels whose truth is not known (nnU-Net's label `ignore`), where there are any.
    pub fn ignored(&self) -> Option<MaskStack> {
        let value = self.ignored?;
        let stack = MaskStack::of_labels(&self.labels, ShownVolume::PLANE, |v| v == value);
        (stack.voxels() > 0).then_some(stack)
    }
}

impl Dataset {
    /// Reads a case of this data set as a volume; `None` where it is a picture.
    ///
    /// # Errors
    /// Where a file cannot be read, or the labels do not lie on the image's grid.
    pub fn load_volume(&self, case: &Case, options: &LoadOptions) -> Result<Option<LoadedVolume>> {
        let channel = Channel {
            number: options.channel,
            names: &self.channels,
        };
        let (Scan { content, info }, mut notes) = read_pixels(&case.source.image, channel)?;
        let truth = read_truth(&case.source, &content)?;
        let ImageFile::Volume(volume) = content else {
            return Ok(None);
        };
        notes.extend(truth.notes);
        let labels = as_volume(case, &volume, truth.labels)?;
        let found = labels.labels();
        let instance_of = truth.instance_of.or_else(|| self.numbered(&found));
        self.note_values(&found, instance_of.as_ref(), &mut notes);
        let labels = align(case, &volume, &labels, &mut notes)?;
        let choice = (case.modality == "CT").then(|| options.ct_window());
        let shown = Presentation::of_volume(&volume, &info, choice.as_ref())?;
        Ok(Some(LoadedVolume {
            shown: ShownVolume::new(volume, shown),
            info,
            structures: self.targets(),
            notes,
            labels,
            regions: self.regions.clone(),
            instance_of: instance_of.filter(|_| self.regions.is_empty()),
            ignored: self.ignored,
        }))
    }
}

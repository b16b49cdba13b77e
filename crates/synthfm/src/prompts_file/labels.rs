//! The answers of an image as one map of labels.

use std::path::Path;

use anyhow::Result;
use synthfm_image::{
    LabelFile, LabelMap, LabelVolume, Mask, MaskFormat, ScanInfo, Segment, Segmentation,
    WriteOptions, write_label_png, write_segmentation,
};

use crate::input::{Input, Place};

/// Answers on the grid of their image; where they overlap, the higher value is seen.
pub(super) struct Labels {
    map: LabelFile,
    segments: Vec<Segment>,
    /// Facts about the image beside its pixel values.
    info: ScanInfo,
    /// Pixels that several answers claim.
    shared: usize,
}

impl Labels {
    /// An empty map on the grid of the input.
    pub(super) fn new(input: &Input) -> Self {
        let map = match &input.place {
            Place::Picture => LabelFile::Map(LabelMap::zeros(input.rgb.size())),
            Place::Slice { geometry, .. } => {
                LabelFile::Volume(LabelVolume::zeros((**geometry).clone()))
            }
        };
        Self {
            map,
            segments: Vec::new(),
            info: input.info.clone(),
            shared: 0,
        }
    }

    /// An empty map on the grid of a volume.
    pub(super) fn of_volume(grid: &LabelVolume, info: &ScanInfo) -> Self {
        Self {
            map: LabelFile::Volume(LabelVolume::zeros(grid.geometry().clone())),
            segments: Vec::new(),
            info: info.clone(),
            shared: 0,
        }
    }

    /// Adds a whole structure, the voxels that are not 0, under a value and a name.
    pub(super) fn add_volume(&mut self, structure: &LabelVolume, label: u16, id: &str) {
        if let LabelFile::Volume(map) = &mut self.map {
            let voxels = map.data_mut().iter_mut().zip(structure.data());
            for (value, _) in voxels.filter(|(_, inside)| **inside != 0) {
                self.shared += usize::from(*value != 0);
                *value = label.max(*value);
            }
        }
        self.segments.push(Segment::new(label, id));
    }

    /// Adds the answer about `input` under a value and a name.
    pub(super) fn add(&mut self, input: &Input, mask: &Mask, label: u16, id: &str) -> Result<()> {
        let mut put = |value: &mut u16| {
            self.shared += usize::from(*value != 0);
            *value = label.max(*value);
        };
        let pixels = mask
            .data()
            .iter()
            .enumerate()
            .filter(|(_, inside)| **inside);
        match (&mut self.map, &input.place) {
            (LabelFile::Map(map), _) => pixels.for_each(|(at, _)| put(&mut map.data_mut()[at])),
            (LabelFile::Volume(volume), Place::Slice { plane, index, .. }) => {
                let voxels: Vec<usize> = volume.geometry().slice_voxels(*plane, *index)?.collect();
                pixels.for_each(|(at, _)| put(&mut volume.data_mut()[voxels[at]]));
            }
            // An image is a picture or a volume, whichever entry looks at it.
            (LabelFile::Volume(_), Place::Picture) => {}
        }
        self.segments.push(Segment::new(label, id));
        Ok(())
    }

    /// The format of the map: the one of the masks, except that a volume is not written as a picture.
    pub(super) fn format(&self, of_masks: Option<MaskFormat>) -> MaskFormat {
        match (&self.map, of_masks) {
            (LabelFile::Volume(_), None | Some(MaskFormat::Png | MaskFormat::CocoJson)) => {
                MaskFormat::Nifti
            }
            (LabelFile::Map(_), None) => MaskFormat::Png,
            (_, Some(format)) => format,
        }
    }

    /// Writes the map with the names of its values; returns what a reader should know.
    pub(super) fn write(mut self, path: &Path, format: MaskFormat) -> Result<Vec<String>> {
        self.segments.sort_by_key(|segment| segment.label);
        let mut notes = Vec::new();
        if self.shared > 0 {
            let pixels = self.shared;
            notes.push(format!(
                "answers overlap on {pixels} pixels, which the last entry keeps"
            ));
        }
        // A mask file of one structure holds 0 and 255, a map of labels its value.
        if let (LabelFile::Map(map), MaskFormat::Png) = (&self.map, format) {
            write_label_png(path, map)?;
            return Ok(notes);
        }
        let segmentation = Segmentation {
            labels: self.map,
            segments: self.segments,
        };
        let options = WriteOptions {
            format: Some(format),
            ..WriteOptions::default()
        };
        notes.extend(write_segmentation(
            path,
            &segmentation,
            &self.info,
            &options,
        )?);
        Ok(notes)
    }
}

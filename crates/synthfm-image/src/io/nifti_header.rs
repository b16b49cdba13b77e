//! The headers of NIfTI: versions 1 (348 bytes) and 2 (540 bytes) in, version 1 out.
//!
//! Field offsets and the three ways to place a volume are those of the standard's `nifti1.h`. The
//! header is read field by field here, because every number in it is checked before it is used.

use super::element::{ByteOrder, Element};
use super::payload::{self, Layout, Wanted};
use super::source::Source;
use crate::volume::NiftiForms;
use crate::{Error, FileFormat, Result, VolumeGeometry};

/// Bytes of the header, and of the header with its empty list of extensions.
pub(super) const HEADER_BYTES: usize = 348;
pub(super) const DATA_OFFSET: usize = 352;

/// Bytes of the header of version 2.
pub(super) const HEADER_2_BYTES: usize = 540;

const DIM: usize = 40;
const DATATYPE: usize = 70;
const BITPIX: usize = 72;
const PIXDIM: usize = 76;
const VOX_OFFSET: usize = 108;
const SCL_SLOPE: usize = 112;
const XYZT_UNITS: usize = 123;
const QFORM_CODE: usize = 252;
const SFORM_CODE: usize = 254;
const QUATERNION: usize = 256;
const SROW: usize = 280;
const MAGIC: usize = 344;

/// Units of length, in the lowest three bits.
const UNIT_METRE: u8 = 1;
const UNIT_MM: u8 = 2;
const UNIT_MICRON: u8 = 3;

/// A checked header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) format: FileFormat,
    pub(super) geometry: VolumeGeometry,
    pub(super) layout: Layout,
    /// Bytes between the header and the first volume.
    pub(super) gap: u64,
    /// Bytes of the volumes before the one that is read.
    pub(super) before: u64,
    /// Remarks for the user on how the header was read.
    pub(super) warnings: Vec<String>,
    /// Samples of a voxel: 3 and 4 are colours of bytes.
    pub(super) samples: usize,
}

/// Fields that both versions of the header have.
struct Fields {
    format: FileFormat,
    order: ByteOrder,
    dims: [i64; 8],
    datatype: i16,
    offset: f64,
    scaling: [f64; 2],
    unit: u8,
    forms: Forms,
    /// As they are in the file; version 1 only.
    exact: Option<NiftiForms>,
}

/// The fields that place a volume.
struct Forms {
    pixdim: [f64; 4],
    qform_code: i64,
    sform_code: i64,
    quaternion: [f64; 6],
    srow: [[f64; 4]; 3],
}

/// Numbers at places of a header.
struct Bytes<'a> {
    bytes: &'a [u8],
    order: ByteOrder,
}

impl Bytes<'_> {
    fn raw<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut raw = [0; N];
        raw.copy_from_slice(&self.bytes[at..at + N]);
        if self.order == ByteOrder::Big {
            raw.reverse();
        }
        raw
    }

    fn i16(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.raw(at))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.raw(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.raw(at))
    }

    fn f32s<const N: usize>(&self, at: usize) -> [f32; N] {
        std::array::from_fn(|n| f32::from_le_bytes(self.raw(at + 4 * n)))
    }

    fn f64s<const N: usize>(&self, at: usize) -> [f64; N] {
        std::array::from_fn(|n| f64::from_le_bytes(self.raw(at + 8 * n)))
    }
}

/// Whether the first bytes are those of version 2, whose header is longer.
pub(super) fn is_version_2(bytes: &[u8]) -> bool {
    matches!(bytes.first_chunk(), Some([28, 2, 0, 0] | [0, 0, 2, 28]))
}

/// Number of volumes that a header declares.
pub(super) fn volume_count(source: &Source, bytes: &[u8]) -> Result<u64> {
    let fields = fields(source, bytes)?;
    shape(source, &fields, &mut Vec::new()).map(|(_, volumes)| volumes)
}

/// Reads the fields of a header of either version.
fn fields(source: &Source, bytes: &[u8]) -> Result<Fields> {
    match bytes.first_chunk() {
        Some([92, 1, 0, 0]) => version_1(source, bytes, ByteOrder::Little),
        Some([0, 0, 1, 92]) => version_1(source, bytes, ByteOrder::Big),
        Some([28, 2, 0, 0]) => version_2(source, bytes, ByteOrder::Little),
        Some([0, 0, 2, 28]) => version_2(source, bytes, ByteOrder::Big),
        _ => Err(source.format_error("not a NIfTI header: its size field is neither 348 nor 540")),
    }
}

/// Reads a header, and finds the wanted volume.
pub(super) fn parse(source: &Source, bytes: &[u8], wanted: Wanted) -> Result<Header> {
    let fields = fields(source, bytes)?;
    let mut warnings = Vec::new();
    let (shape, volumes) = shape(source, &fields, &mut warnings)?;
    let (element, samples) = element(source, fields.datatype)?;
    let count = payload::count(&shape).and_then(|n| n.checked_mul(samples));
    source.check_bytes(count.and_then(|n| (n as u64).checked_mul(4)))?;
    let mut layout = Layout {
        element,
        order: fields.order,
        count: count.unwrap_or(usize::MAX),
        tail: 0,
        scaling: scaling(source, fields.scaling)?,
    };
    let lengths = used(&fields).iter().map(|&d| d.max(0) as u64);
    let number = payload::chosen_volume(source, &lengths.collect::<Vec<_>>(), volumes, wanted)?;
    let number = number.unwrap_or(0);
    layout.tail = layout.bytes().saturating_mul(volumes - 1 - number);
    let start = offset(source, &fields, bytes.len())?;
    let before = number.checked_mul(layout.bytes());
    source.check_bytes(before.and_then(|before| before.checked_add(start)))?;
    Ok(Header {
        format: fields.format,
        geometry: geometry(source, &fields, shape, &mut warnings)?,
        layout,
        gap: start - bytes.len() as u64,
        before: before.unwrap_or(u64::MAX),
        warnings,
        samples,
    })
}

/// Lengths of the axes that the header counts.
fn used(fields: &Fields) -> &[i64] {
    let axes = usize::try_from(fields.dims[0]).unwrap_or(0).min(7);
    &fields.dims[1..=axes]
}

fn version_1(source: &Source, bytes: &[u8], order: ByteOrder) -> Result<Fields> {
    match &bytes[MAGIC..] {
        b"n+1\0" => {}
        b"ni1\0" => {
            return Err(source.unsupported("NIfTI in two files (.hdr, .img); store it as .nii"));
        }
        other => {
            let problem = format!("not a NIfTI-1 file: its magic is {other:02x?}");
            return Err(source.format_error(problem));
        }
    }
    let at = Bytes { bytes, order };
    let exact = NiftiForms {
        pixdim: at.f32s(PIXDIM),
        qform_code: at.i16(QFORM_CODE),
        sform_code: at.i16(SFORM_CODE),
        quaternion: at.f32s(QUATERNION),
        srow: [0, 1, 2].map(|row| at.f32s(SROW + 16 * row)),
    };
    Ok(Fields {
        format: FileFormat::Nifti1,
        order,
        dims: std::array::from_fn(|n| i64::from(at.i16(DIM + 2 * n))),
        datatype: at.i16(DATATYPE),
        offset: f64::from(at.f32s::<1>(VOX_OFFSET)[0]),
        scaling: at.f32s(SCL_SLOPE).map(f64::from),
        unit: bytes[XYZT_UNITS] & 7,
        forms: Forms {
            pixdim: exact.pixdim.map(f64::from),
            qform_code: exact.qform_code.into(),
            sform_code: exact.sform_code.into(),
            quaternion: exact.quaternion.map(f64::from),
            srow: exact.srow.map(|row| row.map(f64::from)),
        },
        exact: Some(exact),
    })
}

/// Field offsets of `nifti2.h`.
fn version_2(source: &Source, bytes: &[u8], order: ByteOrder) -> Result<Fields> {
    match &bytes[4..8] {
        b"n+2\0" => {}
        b"ni2\0" => {
            return Err(source.unsupported("NIfTI in two files (.hdr, .img); store it as .nii"));
        }
        other => {
            let problem = format!("not a NIfTI-2 file: its magic is {other:02x?}");
            return Err(source.format_error(problem));
        }
    }
    let at = Bytes { bytes, order };
    Ok(Fields {
        format: FileFormat::Nifti2,
        order,
        dims: std::array::from_fn(|n| at.i64(16 + 8 * n)),
        datatype: at.i16(12),
        offset: at.i64(168) as f64,
        scaling: at.f64s(176),
        unit: (at.i32(500) & 7) as u8,
        forms: Forms {
            pixdim: at.f64s(104),
            qform_code: at.i32(344).into(),
            sform_code: at.i32(348).into(),
            quaternion: at.f64s(352),
            srow: [0, 1, 2].map(|row| at.f64s(400 + 32 * row)),
        },
        exact: None,
    })
}

/// Voxels of a volume, and the number of volumes.
fn shape(
    source: &Source,
    fields: &Fields,
    warnings: &mut Vec<String>,
) -> Result<([usize; 3], u64)> {
    if !(1..=7).contains(&fields.dims[0]) {
        let problem = format!("{} dimensions, expected 1 to 7", fields.dims[0]);
        return Err(source.format_error(problem));
    }
    let used = used(fields);
    // Writers leave 0 in axes that they count but do not use; those are the last ones.
    let given = used
        .iter()
        .rposition(|&d| d != 0)
        .map_or(0, |last| last + 1);
    let (given, empty) = used.split_at(given);
    if given.is_empty() || given.iter().any(|&d| d < 1) {
        return Err(source.format_error(format!("dimensions {used:?} must be positive")));
    }
    if !empty.is_empty() {
        warnings.push(format!(
            "the dimensions {used:?} end in 0: taken as 1, as other programs do"
        ));
    }
    let length = |axis: usize| given.get(axis).map_or(1, |&d| d as usize);
    let further = given.iter().skip(3).map(|&d| d as u64);
    let volumes = further.fold(1, u64::saturating_mul);
    Ok(([length(0), length(1), length(2)], volumes))
}

/// The type of a sample, and samples per voxel.
fn element(source: &Source, code: i16) -> Result<(Element, usize)> {
    Ok(match code {
        2 => (Element::U8, 1),
        4 => (Element::I16, 1),
        8 => (Element::I32, 1),
        16 => (Element::F32, 1),
        64 => (Element::F64, 1),
        128 => (Element::U8, 3),
        256 => (Element::I8, 1),
        512 => (Element::U16, 1),
        768 => (Element::U32, 1),
        1024 => (Element::I64, 1),
        1280 => (Element::U64, 1),
        2304 => (Element::U8, 4),
        _ => {
            let name = match code {
                1 => " (bits)",
                32 => " (complex64)",
                1536 => " (float128)",
                1792 => " (complex128)",
                2048 => " (complex256)",
                _ => "",
            };
            let problem = format!(
                "NIfTI data type {code}{name}; integers, float32, float64, RGB24 and RGBA32 are"
            );
            return Err(source.unsupported(problem));
        }
    })
}

/// Largest data offset: version 1 stores a float.
const MAX_OFFSET: f64 = 1e15;

fn offset(source: &Source, fields: &Fields, header_bytes: usize) -> Result<u64> {
    // The empty list of extensions takes four bytes.
    let least = header_bytes as f64 + 4.0;
    // 0 is common and means "right after the header".
    let offset = if fields.offset == 0.0 {
        least
    } else {
        fields.offset
    };
    if offset.fract() == 0.0 && offset >= least && offset < MAX_OFFSET {
        Ok(offset as u64)
    } else {
        Err(source.format_error(format!("data offset {offset}, expected {least} or more")))
    }
}

fn scaling(source: &Source, [slope, inter]: [f64; 2]) -> Result<Option<(f64, f64)>> {
    if slope == 0.0 || !slope.is_finite() {
        return Ok(None);
    }
    if !inter.is_finite() {
        return Err(source.format_error(format!("scale {slope} with intercept {inter}")));
    }
    let identity = slope.to_bits() == 1f64.to_bits() && inter == 0.0;
    Ok((!identity).then_some((slope, inter)))
}

fn geometry(
    source: &Source,
    fields: &Fields,
    shape: [usize; 3],
    warnings: &mut Vec<String>,
) -> Result<VolumeGeometry> {
    let mm_per_unit = match fields.unit {
        UNIT_METRE => 1000.0,
        UNIT_MICRON => 0.001,
        _ => 1.0,
    };
    let signs = [-mm_per_unit, -mm_per_unit, mm_per_unit];
    // Adding zero turns -0 into 0.
    let in_lps =
        |ras: [[f64; 4]; 3]| [0, 1, 2].map(|axis| ras[axis].map(|v| v * signs[axis] + 0.0));
    let forms = &fields.forms;
    let in_mm = fields.unit != UNIT_METRE && fields.unit != UNIT_MICRON;
    if forms.sform_code > 0 {
        match VolumeGeometry::new(shape, in_lps(forms.srow)) {
            Ok(mut geometry) => {
                geometry.nifti = fields.exact.clone().filter(|_| in_mm).map(Box::new);
                return Ok(geometry);
            }
            Err(_) if forms.qform_code <= 0 => warnings.push(
                "the sform is not invertible and there is no qform: the spacing alone is known, not the place"
                    .to_owned(),
            ),
            Err(_) => warnings
                .push("the sform is not invertible: the place is that of the qform".to_owned()),
        }
    }
    let mut geometry = VolumeGeometry::new(shape, in_lps(ras_from_qform(forms)))
        .map_err(|error| source.format_error(error.to_string()))?;
    geometry.nifti = fields.exact.clone().filter(|_| in_mm).map(|mut exact| {
        // Others must not stumble over an sform that says nothing.
        if forms.sform_code > 0 {
            exact.sform_code = 0;
        }
        Box::new(exact)
    });
    Ok(if forms.qform_code > 0 {
        geometry
    } else {
        geometry.without_place()
    })
}

/// The affine of the qform, or of the spacing alone where there is none.
fn ras_from_qform(forms: &Forms) -> [[f64; 4]; 3] {
    let spacing = [1, 2, 3].map(|n| match forms.pixdim[n].abs() {
        // Files of two dimensions leave the third at 0.
        0.0 => 1.0,
        spacing => spacing,
    });
    let (rotation, offset) = if forms.qform_code > 0 {
        let [b, c, d, x, y, z] = forms.quaternion;
        (rotation(b, c, d), [x, y, z])
    } else {
        (
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            [0.0; 3],
        )
    };
    let mirrored = forms.qform_code > 0 && forms.pixdim[0] < 0.0;
    let last = if mirrored { -spacing[2] } else { spacing[2] };
    [0, 1, 2].map(|row| {
        let [u, v, w] = rotation[row];
        [u * spacing[0], v * spacing[1], w * last, offset[row]]
    })
}

/// Rotation matrix of the unit quaternion whose last three parts are given.
fn rotation(b: f64, c: f64, d: f64) -> [[f64; 3]; 3] {
    let squares = b * b + c * c + d * d;
    // Rounding may leave the three parts slightly too long: then the angle is half a turn.
    let scale = if squares > 1.0 {
        squares.sqrt().recip()
    } else {
        1.0
    };
    let a = (1.0 - squares).max(0.0).sqrt();
    let (b, c, d) = (b * scale, c * scale, d * scale);
    [
        [
            a * a + b * b - c * c - d * d,
            2.0 * (b * c - a * d),
            2.0 * (b * d + a * c),
        ],
        [
            2.0 * (b * c + a * d),
            a * a + c * c - b * b - d * d,
            2.0 * (c * d - a * b),
        ],
        [
            2.0 * (b * d - a * c),
            2.0 * (c * d + a * b),
            a * a + d * d - b * b - c * c,
        ],
    ]
}

/// The header, little-endian, of a volume of `u8` or `u16` on `geometry`; the fields that place
/// it are those that were read, where it was read from NIfTI.
pub(super) fn encode(geometry: &VolumeGeometry, element: Element) -> Result<[u8; DATA_OFFSET]> {
    let mut bytes = [0; DATA_OFFSET];
    let mut put = |at: usize, raw: &[u8]| bytes[at..at + raw.len()].copy_from_slice(raw);
    put(0, &(HEADER_BYTES as i32).to_le_bytes());
    let mut dims = [3, 0, 0, 0, 1, 1, 1, 1];
    for (out, &length) in dims[1..4].iter_mut().zip(&geometry.shape()) {
        *out = i16::try_from(length)
            .ok()
            .filter(|&n| n > 0)
            .ok_or_else(|| {
                Error::Parameter(format!("NIfTI-1 cannot hold {:?} voxels", geometry.shape()))
            })?;
    }
    for (n, dim) in dims.iter().enumerate() {
        put(DIM + 2 * n, &dim.to_le_bytes());
    }
    let datatype: i16 = if element == Element::U8 { 2 } else { 512 };
    put(DATATYPE, &datatype.to_le_bytes());
    put(BITPIX, &(8 * element.size() as i16).to_le_bytes());
    put(VOX_OFFSET, &(DATA_OFFSET as f32).to_le_bytes());
    put(SCL_SLOPE, &1f32.to_le_bytes());
    put(XYZT_UNITS, &[UNIT_MM]);
    put(MAGIC, b"n+1\0");
    let exact = geometry.nifti.as_deref().cloned();
    let forms = exact.unwrap_or_else(|| forms_of(geometry));
    put(QFORM_CODE, &forms.qform_code.to_le_bytes());
    put(SFORM_CODE, &forms.sform_code.to_le_bytes());
    let floats = [(PIXDIM, &forms.pixdim[..]), (QUATERNION, &forms.quaternion)];
    let rows = forms
        .srow
        .iter()
        .enumerate()
        .map(|(row, values)| (SROW + 16 * row, &values[..]));
    for (start, values) in floats.into_iter().chain(rows) {
        for (n, value) in values.iter().enumerate() {
            put(start + 4 * n, &value.to_le_bytes());
        }
    }
    Ok(bytes)
}

/// An sform alone ("aligned"), for volumes that do not come from NIfTI.
fn forms_of(geometry: &VolumeGeometry) -> NiftiForms {
    let [x, y, z] = geometry.patient_from_voxel();
    let spacing = geometry.spacing_mm().map(|v| v as f32);
    NiftiForms {
        pixdim: [1.0, spacing[0], spacing[1], spacing[2]],
        qform_code: 0,
        sform_code: 2,
        quaternion: [0.0; 6],
        srow: [
            x.map(|v| -v as f32),
            y.map(|v| -v as f32),
            z.map(|v| v as f32),
        ],
    }
}

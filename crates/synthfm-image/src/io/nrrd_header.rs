//! The header of an NRRD file: fields, key/value pairs, and the geometry in them.

use std::collections::BTreeMap;

use super::element::{ByteOrder, Element};
use super::payload::Packing;
use super::source::Source;
use super::text_header::{MAX_HEADER_BYTES, lengths, numbers};
use crate::{Result, Segment, VolumeGeometry};

/// A checked header.
pub(super) struct Header {
    pub(super) sizes: Vec<usize>,
    pub(super) element: Element,
    pub(super) order: ByteOrder,
    /// The file that holds the values, if it is another one.
    pub(super) data_file: Option<String>,
    pub(super) warnings: Vec<String>,
    encoding: String,
    /// Direction of every axis in the patient (LPS mm); `None` for axes that are none of space.
    directions: Vec<Option<[f64; 3]>>,
    origin: [f64; 3],
    /// Whether distances are known.
    in_space: bool,
    /// Whether the axes' directions are known.
    has_directions: bool,
    pairs: BTreeMap<String, String>,
    /// Lines before the values, before decompression.
    line_skip: u64,
    /// Bytes before the values, after decompression; -1: as many as there are before the last ones.
    byte_skip: i64,
}

type Fields = BTreeMap<String, String>;

impl Header {
    /// The header, and the bytes after it.
    pub(super) fn parse<'a>(source: &'a Source) -> Result<(Self, &'a [u8])> {
        let (fields, pairs, rest) = lines(source)?;
        let field = |names: &[&str]| names.iter().find_map(|name| fields.get(*name).cloned());
        let need = |name: &str| {
            field(&[name]).ok_or_else(|| source.format_error(format!("NRRD header without {name}")))
        };
        let sizes = lengths(&need("sizes")?)
            .filter(|sizes| (1..=16).contains(&sizes.len()))
            .ok_or_else(|| source.format_error("NRRD header: sizes must be positive integers"))?;
        let element = element(source, &need("type")?)?;
        let encoding = need("encoding")?.to_lowercase();
        let order = match field(&["endian"]).as_deref() {
            Some("big") => ByteOrder::Big,
            Some("little") => ByteOrder::Little,
            None if element.size() == 1 || is_text(&encoding) => ByteOrder::Little,
            _ => return Err(source.format_error("NRRD header: endian must be little or big")),
        };
        let skip = |names: &[&str]| field(names).map_or(Ok(0), |text| text.trim().parse::<i64>());
        let bad_skip = |_| source.format_error("NRRD header: a skip is no integer");
        let mut header = Self {
            element,
            order,
            data_file: field(&["data file", "datafile"]),
            warnings: Vec::new(),
            encoding,
            directions: Vec::new(),
            origin: [0.0; 3],
            in_space: false,
            has_directions: false,
            pairs,
            line_skip: u64::try_from(skip(&["line skip", "lineskip"]).map_err(bad_skip)?)
                .unwrap_or(0),
            byte_skip: skip(&["byte skip", "byteskip"]).map_err(bad_skip)?,
            sizes,
        };
        header.place(source, &fields)?;
        Ok((header, rest))
    }

    /// Fills directions and origin.
    fn place(&mut self, source: &Source, fields: &Fields) -> Result<()> {
        let axes = self.sizes.len();
        let signs = signs(fields.get("space").map(String::as_str), &mut self.warnings);
        if let Some(text) = fields.get("space directions") {
            self.directions = vectors(text)
                .filter(|all| all.len() == axes)
                .ok_or_else(|| {
                    source.format_error(format!("NRRD header: space directions {text:?}"))
                })?
                .into_iter()
                .map(|vector| vector.map(|v| signed(v, signs)))
                .collect();
            self.in_space = true;
            self.has_directions = true;
        } else {
            let spacings = fields.get("spacings").map(|text| {
                text.split_whitespace()
                    .map(|word| {
                        word.parse::<f64>()
                            .ok()
                            .filter(|v| v.is_finite() && *v != 0.0)
                    })
                    .collect::<Vec<_>>()
            });
            let colours = colour_axis(fields);
            let mut axis = 0;
            for n in 0..axes {
                if colours == Some(n) || axis == 3 {
                    self.directions.push(None);
                    continue;
                }
                let spacing = spacings
                    .as_ref()
                    .and_then(|all| all.get(n).copied().flatten());
                let mut direction = [0.0; 3];
                direction[axis] = spacing.unwrap_or(1.0).abs();
                self.in_space |= spacing.is_some();
                self.directions.push(Some(direction));
                axis += 1;
            }
        }
        if let Some(text) = fields.get("space origin")
            && let Some([Some(origin)]) = vectors(text).as_deref()
        {
            self.origin = signed(*origin, signs);
        }
        Ok(())
    }

    /// Lengths of the axes in space.
    pub(super) fn spatial_shape(&self) -> Vec<usize> {
        let axes = self.sizes.iter().zip(&self.directions);
        let spatial = axes.filter(|(_, direction)| direction.is_some());
        spatial.map(|(&size, _)| size).collect()
    }

    /// Samples of every voxel.
    pub(super) fn layers(&self) -> usize {
        let axes = self.sizes.iter().zip(&self.directions);
        axes.filter(|(_, direction)| direction.is_none())
            .map(|(&size, _)| size)
            .product()
    }

    pub(super) fn pixel_spacing_mm(&self) -> Option<[f64; 2]> {
        let spatial: Vec<f64> = self
            .directions
            .iter()
            .flatten()
            .map(|d| d.iter().map(|v| v * v).sum::<f64>().sqrt())
            .collect();
        match spatial[..] {
            [x, y] if self.in_space => Some([y, x]),
            _ => None,
        }
    }

    pub(super) fn geometry(&self, source: &Source) -> Result<VolumeGeometry> {
        let axes = self.sizes.iter().zip(&self.directions);
        let spatial: Vec<(usize, [f64; 3])> =
            axes.filter_map(|(&size, d)| d.map(|d| (size, d))).collect();
        let &[(ni, i), (nj, j), (nk, k)] = &spatial[..] else {
            return Err(source.unsupported(format!(
                "{:?} values on {} axes in space; 2 and 3 are",
                self.sizes,
                spatial.len()
            )));
        };
        let affine = [0, 1, 2].map(|axis| [i[axis], j[axis], k[axis], self.origin[axis]]);
        let geometry = VolumeGeometry::new([ni, nj, nk], affine)
            .map_err(|error| source.format_error(error.to_string()))?;
        Ok(if self.states_place() {
            geometry
        } else {
            geometry.without_place()
        })
    }

    pub(super) fn is_text(&self) -> bool {
        is_text(&self.encoding)
    }

    /// Whether the axis that is none of space is the last one: then volumes follow one another.
    pub(super) fn layers_are_last(&self) -> bool {
        self.directions.last() == Some(&None)
    }

    /// Whether the header says where the axes lie, not only how far apart voxels are.
    fn states_place(&self) -> bool {
        self.has_directions
    }

    pub(super) fn packing(&self, source: &Source) -> Result<Packing> {
        match self.encoding.as_str() {
            "raw" | "text" | "txt" | "ascii" => Ok(Packing::Raw),
            "gzip" | "gz" => Ok(Packing::Gzip),
            other => {
                Err(source.unsupported(format!("NRRD encoding {other}; raw, gzip and text are")))
            }
        }
    }

    /// The stored values after the lines to skip, and the bytes to pass over once they are decompressed. Lines are
    /// those of the stored bytes, so that they are bounded by the file.
    pub(super) fn skips<'a>(
        &self,
        source: &Source,
        stored: &'a [u8],
        bytes: u64,
    ) -> Result<(&'a [u8], u64)> {
        if self.byte_skip == -1 && self.encoding == "raw" {
            let before = (stored.len() as u64).saturating_sub(bytes);
            return Ok((stored, before));
        }
        let mut rest = stored;
        for skipped in 0..self.line_skip {
            let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
                return Err(source.format_error(format!(
                    "line skip {}: the values begin after {skipped} lines at most",
                    self.line_skip
                )));
            };
            rest = &rest[end + 1..];
        }
        Ok((rest, u64::try_from(self.byte_skip).unwrap_or(0)))
    }

    /// Samples of a picture pixel by pixel.
    pub(super) fn interleaved(&self, values: impl Iterator<Item = u8>) -> Vec<u8> {
        let values: Vec<u8> = values.collect();
        if self.directions.first() == Some(&None) {
            return values;
        }
        let (layers, pixels) = (self.layers(), values.len() / self.layers().max(1));
        (0..values.len())
            .map(|n| values[n % layers * pixels + n / layers])
            .collect()
    }

    /// Structures with their names, as 3D Slicer writes them: layer, stored value, structure.
    fn segments(&self) -> Vec<(usize, u16, Segment)> {
        let value = |n: usize, key: &str| self.pairs.get(&format!("Segment{n}_{key}"));
        (0..usize::from(u16::MAX))
            .map_while(|n| value(n, "ID").map(|id| (n, id)))
            .filter_map(|(n, id)| {
                let number = |key: &str, default: usize| {
                    value(n, key).map_or(Some(default), |text| text.parse().ok())
                };
                let label = u16::try_from(number("LabelValue", 1)?)
                    .ok()
                    .filter(|&v| v > 0)?;
                let name = value(n, "Name").unwrap_or(id);
                let mut segment = Segment::new(label, name.as_str());
                if let Some(&[r, g, b]) = value(n, "Color").and_then(|t| numbers(t)).as_deref() {
                    segment.colour = [r, g, b].map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8);
                }
                Some((number("Layer", 0)?, label, segment))
            })
            .collect()
    }

    /// Layers merged into one; structures that share a value on different layers get values of their own.
    pub(super) fn merged(
        &self,
        stored: Vec<u16>,
        warnings: &mut Vec<String>,
    ) -> (Vec<u16>, Vec<Segment>) {
        let mut segments = self.segments();
        let layers = self.layers();
        if layers <= 1 {
            return (
                stored,
                segments.into_iter().map(|(.., segment)| segment).collect(),
            );
        }
        for (n, (.., segment)) in segments.iter_mut().enumerate() {
            segment.label = n as u16 + 1;
        }
        let first = self.directions.first() == Some(&None);
        let voxels = stored.len() / layers;
        let mut merged = vec![0u16; voxels];
        let mut overlapping = 0usize;
        for (layer, value, segment) in &segments {
            for (voxel, place) in merged.iter_mut().enumerate() {
                let at = if first {
                    voxel * layers + layer
                } else {
                    layer * voxels + voxel
                };
                if stored.get(at) == Some(value) {
                    overlapping += usize::from(*place != 0);
                    *place = segment.label;
                }
            }
        }
        if overlapping > 0 {
            warnings.push(format!(
                "segments overlap in {overlapping} voxels: the later one was kept there"
            ));
        }
        (
            merged,
            segments.into_iter().map(|(.., segment)| segment).collect(),
        )
    }
}

fn is_text(encoding: &str) -> bool {
    matches!(encoding, "text" | "txt" | "ascii")
}

/// Fields and key/value pairs up to the first empty line, and what follows it.
fn lines<'a>(source: &'a Source) -> Result<(Fields, Fields, &'a [u8])> {
    let (mut fields, mut pairs) = (Fields::new(), Fields::new());
    let mut rest = source.bytes();
    let start = &rest[..rest.len().min(MAX_HEADER_BYTES)];
    let mut at = 0;
    let mut first = true;
    while at < start.len() {
        let end = start[at..].iter().position(|&b| b == b'\n').map(|n| at + n);
        let line = &start[at..end.unwrap_or(start.len())];
        at = end.map_or(start.len(), |end| end + 1);
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            break;
        }
        if std::mem::take(&mut first) || line.starts_with('#') {
            continue;
        }
        if let Some((key, value)) = line.split_once(":=") {
            pairs.insert(key.trim().to_owned(), value.to_owned());
        } else if let Some((key, value)) = line.split_once(':') {
            fields.insert(key.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    rest = &rest[at..];
    if fields.is_empty() {
        return Err(source.format_error("NRRD header without fields"));
    }
    Ok((fields, pairs, rest))
}

/// An axis that is said to hold samples of a colour or layers.
fn colour_axis(fields: &Fields) -> Option<usize> {
    let kinds = fields.get("kinds")?;
    kinds.split_whitespace().position(|kind| {
        let kind = kind.to_lowercase();
        kind.contains("color") || kind == "list" || kind == "vector"
    })
}

fn element(source: &Source, name: &str) -> Result<Element> {
    Ok(match name {
        "signed char" | "int8" | "int8_t" => Element::I8,
        "uchar" | "unsigned char" | "uint8" | "uint8_t" => Element::U8,
        "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => {
            Element::I16
        }
        "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => Element::U16,
        "int" | "signed int" | "int32" | "int32_t" => Element::I32,
        "uint" | "unsigned int" | "uint32" | "uint32_t" => Element::U32,
        "longlong"
        | "long long"
        | "long long int"
        | "signed long long"
        | "signed long long int"
        | "int64"
        | "int64_t" => Element::I64,
        "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => {
            Element::U64
        }
        "float" => Element::F32,
        "double" => Element::F64,
        _ => {
            let problem = format!("NRRD type {name:?}; integers, float and double are");
            return Err(source.unsupported(problem));
        }
    })
}

/// Signs that take a space to left-posterior-superior.
fn signs(space: Option<&str>, warnings: &mut Vec<String>) -> [f64; 3] {
    let Some(space) = space else {
        return [1.0; 3];
    };
    let name = space.to_lowercase();
    match name.trim_end_matches("-time") {
        "left-posterior-superior" | "lps" | "lpst" => [1.0; 3],
        "right-anterior-superior" | "ras" | "rast" => [-1.0, -1.0, 1.0],
        "left-anterior-superior" | "las" | "last" => [1.0, -1.0, 1.0],
        _ => {
            warnings.push(format!(
                "the space {space:?} does not say where the patient lies: taken as left-posterior-superior"
            ));
            [1.0; 3]
        }
    }
}

fn signed(vector: [f64; 3], signs: [f64; 3]) -> [f64; 3] {
    // Adding zero turns -0 into 0.
    [0, 1, 2].map(|axis| vector[axis] * signs[axis] + 0.0)
}

/// Vectors such as `(1,0,0) none (0,2,0)`; two numbers lie in the plane of the first two axes.
fn vectors(text: &str) -> Option<Vec<Option<[f64; 3]>>> {
    let mut all = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("none") {
            all.push(None);
            rest = after.trim_start();
            continue;
        }
        let (inside, after) = rest.strip_prefix('(')?.split_once(')')?;
        let parts: Option<Vec<f64>> = inside
            .split(',')
            .map(|part| part.trim().parse().ok().filter(|v: &f64| v.is_finite()))
            .collect();
        all.push(Some(match parts?[..] {
            [x, y] => [x, y, 0.0],
            [x, y, z] => [x, y, z],
            _ => return None,
        }));
        rest = after.trim_start();
    }
    Some(all)
}

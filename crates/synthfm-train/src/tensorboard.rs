//! TensorBoard's event file of a run: `TFRecord`s of `Event` messages (`tensorflow/core/util/event.proto` and
//! `framework/summary.proto`, of which the fields written here). A record is its length, the length's checksum, the
//! message and its checksum; checksums are CRC-32C, rotated and shifted as in `tsl/lib/hash/crc32c.h`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::{Message, Oneof};

use crate::checkpoint::write_atomic;
use crate::{Error, Result};

/// Folder and file below the run folder; TensorBoard looks for `tfevents` in names.
const FOLDER: &str = "tensorboard";
const FILE: &str = "events.out.tfevents.0.synthfm";

#[derive(Clone, PartialEq, Message)]
struct EventMessage {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<SummaryValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Content", tags = "2, 4")]
    content: Option<Content>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Content {
    #[prost(float, tag = "2")]
    SimpleValue(f32),
    #[prost(message, tag = "4")]
    Image(ImageSummary),
}

#[derive(Clone, PartialEq, Message)]
struct ImageSummary {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    /// 3: RGB.
    #[prost(int32, tag = "3")]
    colorspace: i32,
    /// PNG.
    #[prost(bytes = "vec", tag = "4")]
    encoded_image_string: Vec<u8>,
}

/// The event file of a run.
#[derive(Debug)]
pub(crate) struct EventFile {
    path: PathBuf,
}

impl EventFile {
    /// Starts the file, or goes on after `step`: records of later steps and a torn one at the end are dropped.
    pub(crate) fn open(run: &Path, step: u64) -> Result<Self> {
        let folder = run.join(FOLDER);
        fs::create_dir_all(&folder).map_err(|source| Error::Io {
            path: folder.clone(),
            source,
        })?;
        let path = folder.join(FILE);
        let old = fs::read(&path).unwrap_or_default();
        let mut kept = Vec::new();
        for message in records(&old) {
            let of_step = EventMessage::decode(message).map(|event| event.step as u64);
            if of_step.is_ok_and(|of_step| of_step <= step) {
                kept.extend(record(message));
            }
        }
        if kept.is_empty() {
            let version = What::FileVersion("brain.Event:2".to_owned());
            kept = record(&event(0, version).encode_to_vec());
        }
        write_atomic(&path, &kept)?;
        Ok(Self { path })
    }

    /// Adds numbers of one step under their tags.
    pub(crate) fn scalars(
        &self,
        step: u64,
        values: impl IntoIterator<Item = (String, f64)>,
    ) -> Result<()> {
        let value = |(tag, value): (String, f64)| SummaryValue {
            tag,
            content: Some(Content::SimpleValue(value as f32)),
        };
        self.append(step, values.into_iter().map(value).collect())
    }

    /// Adds a PNG of `width` × `height` pixels.
    pub(crate) fn picture(
        &self,
        step: u64,
        tag: &str,
        png: Vec<u8>,
        [width, height]: [usize; 2],
    ) -> Result<()> {
        let image = ImageSummary {
            height: height as i32,
            width: width as i32,
            colorspace: 3,
            encoded_image_string: png,
        };
        let value = SummaryValue {
            tag: tag.to_owned(),
            content: Some(Content::Image(image)),
        };
        self.append(step, vec![value])
    }

    fn append(&self, step: u64, value: Vec<SummaryValue>) -> Result<()> {
        let message = event(step, What::Summary(Summary { value })).encode_to_vec();
        let io = |source| Error::Io {
            path: self.path.clone(),
            source,
        };
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(&self.path)
            .map_err(io)?;
        file.write_all(&record(&message)).map_err(io)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a time that TensorBoard shows; nothing depends on it"
)]
fn event(step: u64, what: What) -> EventMessage {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    EventMessage {
        wall_time: since.map_or(0.0, |time| time.as_secs_f64()),
        step: step as i64,
        what: Some(what),
    }
}

/// CRC-32C, masked so that a checksum of data with checksums in it stays good.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut bytes = Vec::with_capacity(message.len() + 16);
    bytes.extend(length);
    bytes.extend(checksum(&length).to_le_bytes());
    bytes.extend(message);
    bytes.extend(checksum(message).to_le_bytes());
    bytes
}

/// The messages of whole records, up to the first that is torn or damaged.
fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    fn next<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (sum, rest) = rest.split_first_chunk::<4>()?;
        let count = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (message, rest) = rest.split_at_checked(count)?;
        let (message_sum, rest) = rest.split_first_chunk::<4>()?;
        let whole = u32::from_le_bytes(*sum) == checksum(length)
            && u32::from_le_bytes(*message_sum) == checksum(message);
        *bytes = rest;
        whole.then_some(message)
    }
    std::iter::from_fn(|| next(&mut bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(tag: &str, value: f64) -> Vec<(String, f64)> {
        vec![(tag.to_owned(), value)]
    }

    fn read(run: &Path) -> Vec<EventMessage> {
        let bytes = fs::read(run.join(FOLDER).join(FILE)).unwrap();
        let decode = |message: &[u8]| EventMessage::decode(message).unwrap();
        records(&bytes).into_iter().map(decode).collect()
    }

    #[test]
    fn the_checksum_is_that_of_the_format() {
        // RFC 3720, B.4: 32 zeros have the CRC-32C 0x8a9136aa.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        // How TensorFlow's event files start: the length 24 of their version and its checksum.
        let start = [24, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22];
        assert_eq!(record(&[0; 24])[..12], start);
    }

    #[test]
    fn a_message_has_the_bytes_of_the_format() {
        let message = EventMessage {
            wall_time: 0.0,
            step: 3,
            what: Some(What::Summary(Summary {
                value: vec![SummaryValue {
                    tag: "a".to_owned(),
                    content: Some(Content::SimpleValue(1.0)),
                }],
            })),
        };
        // step: field 2, varint 3; summary: field 5, 10 bytes; value: field 1, 8 bytes; tag: field 1, "a";
        // simple_value: field 2, the four bytes of 1.0.
        let expected = [
            0x10, 3, 0x2a, 10, 0x0a, 8, 0x0a, 1, b'a', 0x15, 0, 0, 0x80, 0x3f,
        ];
        assert_eq!(message.encode_to_vec(), expected);
    }

    #[test]
    fn records_are_those_of_tensorboards_own_writer() {
        let number = |tag: &str, value| SummaryValue {
            tag: tag.to_owned(),
            content: Some(Content::SimpleValue(value)),
        };
        let picture = SummaryValue {
            tag: "validation".to_owned(),
            content: Some(Content::Image(ImageSummary {
                height: 3,
                width: 5,
                colorspace: 3,
                encoded_image_string: (0..200).collect(),
            })),
        };
        let summary = |value| What::Summary(Summary { value });
        let events = [
            (0.0, 0, What::FileVersion("brain.Event:2".to_owned())),
            (
                0.25,
                10,
                summary(vec![
                    number("training/loss", 0.75),
                    number("training/lr", 1e-4),
                ]),
            ),
            (
                0.5,
                4_000_000_000,
                summary(vec![number("validation dice/1,0", -3.5e8)]),
            ),
            (1.0, 20, summary(vec![picture])),
        ];
        let written = events.into_iter().flat_map(|(seconds, step, what)| {
            let event = EventMessage {
                wall_time: 1.5e9 + seconds,
                step,
                what: Some(what),
            };
            record(&event.encode_to_vec())
        });
        let expected = include_bytes!("../tests/fixtures/events.tfevents");
        assert!(written.eq(expected.iter().copied()));
        assert_eq!(records(expected).len(), 4);
    }

    #[test]
    fn a_resumed_file_holds_no_later_and_no_torn_record() {
        let run = tempfile::tempdir().unwrap();
        let file = EventFile::open(run.path(), 0).unwrap();
        for step in [10, 20, 30] {
            file.scalars(step, scalar("train/loss", step as f64))
                .unwrap();
        }
        let mut bytes = fs::read(&file.path).unwrap();
        bytes.truncate(bytes.len() - 3);
        fs::write(&file.path, &bytes).unwrap();
        let file = EventFile::open(run.path(), 15).unwrap();
        file.picture(20, "validation", vec![1, 2], [4, 3]).unwrap();
        let events = read(run.path());
        let steps: Vec<i64> = events.iter().map(|event| event.step).collect();
        assert_eq!(steps, [0, 10, 20]);
        let version = What::FileVersion("brain.Event:2".to_owned());
        assert_eq!(events[0].what, Some(version));
    }

    #[test]
    fn a_length_beyond_the_file_is_no_record() {
        let mut bytes = u64::MAX.to_le_bytes().to_vec();
        bytes.extend(checksum(&bytes).to_le_bytes());
        bytes.extend([0; 64]);
        assert!(records(&bytes).is_empty());
    }
}

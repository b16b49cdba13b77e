//! DICOM's run lengths (PS3.5, annex G): a segment per byte of a sample, the highest byte first, each packed as in
//! TIFF's `PackBits`.

use super::{Decoded, Expected};

const HEADER_BYTES: usize = 64;

pub(super) fn decode(bytes: &[u8], expected: &Expected) -> Result<Decoded, String> {
    let (header, _) = bytes
        .get(..HEADER_BYTES)
        .ok_or("the RLE header is truncated")?
        .as_chunks::<4>();
    let count = u32::from_le_bytes(header[0]) as usize;
    let bytes_per_sample = expected.bits_allocated.div_ceil(8);
    if count != expected.channels * bytes_per_sample {
        return Err(format!(
            "{count} RLE segments, {} expected",
            expected.channels * bytes_per_sample
        ));
    }
    let pixels = expected.pixels();
    // A pair of bytes gives 128 at most.
    if pixels > bytes.len().saturating_mul(64) {
        return Err(format!(
            "{pixels} pixels cannot be in {} bytes of RLE",
            bytes.len()
        ));
    }
    let offsets: Vec<usize> = header[1..=count]
        .iter()
        .map(|&raw| u32::from_le_bytes(raw) as usize)
        .collect();
    let mut samples = vec![0u16; pixels * expected.channels];
    let mut segment = Vec::with_capacity(pixels);
    for (n, &start) in offsets.iter().enumerate() {
        let end = offsets.get(n + 1).copied().unwrap_or(bytes.len());
        let packed = bytes
            .get(start..end)
            .ok_or_else(|| format!("RLE segment {n} lies outside the frame"))?;
        segment.clear();
        unpack(packed, pixels, &mut segment);
        if segment.len() < pixels {
            return Err(format!(
                "RLE segment {n} has {} of {pixels} bytes",
                segment.len()
            ));
        }
        let (channel, byte) = (n / bytes_per_sample, n % bytes_per_sample);
        let shift = 8 * (bytes_per_sample - 1 - byte);
        let places = samples.iter_mut().skip(channel).step_by(expected.channels);
        for (sample, &value) in places.zip(&segment) {
            *sample |= u16::from(value) << shift;
        }
    }
    Ok(Decoded {
        samples,
        channels: expected.channels,
        is_rgb: false,
    })
}

/// Unpacks up to `limit` bytes.
fn unpack(mut packed: &[u8], limit: usize, out: &mut Vec<u8>) {
    while let Some((&head, rest)) = packed.split_first() {
        let left = limit - out.len();
        if left == 0 {
            return;
        }
        packed = rest;
        let head = head as i8;
        if head >= 0 {
            let count = (head as usize + 1).min(rest.len());
            out.extend_from_slice(&rest[..count.min(left)]);
            packed = &rest[count..];
        } else if head != i8::MIN {
            let Some((&value, rest)) = rest.split_first() else {
                return;
            };
            let count = (1 - isize::from(head)) as usize;
            out.resize(out.len() + count.min(left), value);
            packed = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_and_repeated_bytes_of_two_segments() {
        let mut bytes = vec![0; HEADER_BYTES];
        // High bytes: 1 three times, then 2; low bytes: 9, 8, 7, 6.
        let high = [254, 1, 0, 2];
        let low = [3, 9, 8, 7, 6, 128];
        for (at, value) in [(0, 2u32), (4, 64), (8, 68)] {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes.extend(high);
        bytes.extend(low);
        let expected = Expected {
            rows: 2,
            columns: 2,
            channels: 1,
            bits_allocated: 16,
            stored_rgb: false,
        };
        let decoded = decode(&bytes, &expected).unwrap();
        assert_eq!(decoded.samples, [0x109, 0x108, 0x107, 0x206]);
        let error = decode(&bytes[..66], &expected).unwrap_err();
        assert!(error.contains("segment"), "{error}");
        assert!(decode(&bytes[..40], &expected).is_err());
    }
}

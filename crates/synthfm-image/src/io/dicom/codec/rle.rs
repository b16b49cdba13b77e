//! DICOM's run lengths (PS3.5, annex G): a segment per byte of a sample, the highest byte first, each packed as in
//! TIFF's `PackBits`.

use super::{Expected, Failure, zeroed};

const HEADER_BYTES: usize = 64;

/// Decodes to interleaved little-endian samples of whole bytes.
pub(super) fn decode(bytes: &[u8], expected: &Expected) -> Result<Vec<u8>, Failure> {
    let (header, _) = bytes
        .get(..HEADER_BYTES)
        .ok_or("the RLE header is truncated")?
        .as_chunks::<4>();
    let count = u32::from_le_bytes(header[0]) as usize;
    let sample_bytes = expected.bits_allocated.div_ceil(8);
    let pixel_bytes = expected.channels * sample_bytes;
    if count != pixel_bytes || count >= header.len() {
        return Err(format!("{count} RLE segments, {pixel_bytes} expected").into());
    }
    let pixels = expected.pixels();
    // A pair of bytes gives 128 at most.
    if pixels > bytes.len().saturating_mul(64) {
        let length = bytes.len();
        return Err(format!("{pixels} pixels cannot be in {length} bytes of RLE").into());
    }
    let offsets: Vec<usize> = header[1..=count]
        .iter()
        .map(|&raw| u32::from_le_bytes(raw) as usize)
        .collect();
    let mut samples = zeroed(pixels * pixel_bytes)?;
    let mut segment = crate::io::pages::reserved(pixels)?;
    for (n, &start) in offsets.iter().enumerate() {
        let end = offsets.get(n + 1).copied().unwrap_or(bytes.len());
        let packed = bytes
            .get(start..end)
            .ok_or_else(|| format!("RLE segment {n} lies outside the frame"))?;
        segment.clear();
        unpack(packed, pixels, &mut segment);
        if segment.len() < pixels {
            let got = segment.len();
            return Err(format!("RLE segment {n} has {got} of {pixels} bytes").into());
        }
        let (channel, byte) = (n / sample_bytes, n % sample_bytes);
        let place = channel * sample_bytes + (sample_bytes - 1 - byte);
        let places = samples.iter_mut().skip(place).step_by(pixel_bytes);
        for (sample, &value) in places.zip(&segment) {
            *sample = value;
        }
    }
    Ok(samples)
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
            memory: u64::MAX,
        };
        let decoded = decode(&bytes, &expected).unwrap();
        assert_eq!(decoded, [9, 1, 8, 1, 7, 1, 6, 2]);
        let error = decode(&bytes[..66], &expected).unwrap_err();
        assert!(matches!(error, Failure::Frame(text) if text.contains("segment")));
        assert!(decode(&bytes[..40], &expected).is_err());
    }
}

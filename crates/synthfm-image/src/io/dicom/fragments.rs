//! Encapsulated pixels (PS3.5, A.4): where the fragments of each frame lie in a file.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

const ITEM: [u8; 4] = [0xfe, 0xff, 0x00, 0xe0];
const SEQUENCE_END: [u8; 4] = [0xfe, 0xff, 0xdd, 0xe0];
const HEAD_BYTES: u64 = 8;

/// Heads are read so many bytes at a time, for fragments may be tiny.
const HEADS_BYTES: usize = 4096;
/// More fragments than in any file, and few enough for the memory that their places take.
const MAX_FRAGMENTS: usize = 4 << 20;

/// Beginnings of frames: JPEG and JPEG-LS, JPEG 2000, and the same in its container.
const FRAME_STARTS: [&[u8]; 3] = [b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "];
/// The head of an RLE frame: the number of its segments and the offsets of 15 (PS3.5, G.5).
const RLE_HEAD_BYTES: usize = 64;
const RLE_MOST_SEGMENTS: usize = 15;
/// The marker at the end of all these streams, and how far from the end padding may move it.
const FRAME_END: [u8; 2] = [0xff, 0xd9];
const END_BYTES: u64 = 10;

/// Bytes of the file that a frame consists of, in their order.
pub(super) type Pieces = Vec<Range<u64>>;

/// The fragments of each of `frames` frames; the sequence of them begins at byte `start` of `total`. The error says
/// what is wrong.
pub(super) fn of_frames(
    source: &mut (impl Read + Seek),
    start: u64,
    total: u64,
    frames: usize,
) -> io::Result<Result<Vec<Pieces>, String>> {
    let all = match items(source, start, total)? {
        Ok(all) => all,
        Err(problem) => return Ok(Err(problem)),
    };
    let Some((table, fragments)) = all.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return Ok(Err("no fragments of pixels".to_owned()));
    };
    if frames == 1 {
        return Ok(Ok(vec![fragments.to_vec()]));
    }
    if fragments.len() == frames {
        return Ok(Ok(fragments.iter().map(|one| vec![one.clone()]).collect()));
    }
    let starts = match table_starts(source, table, fragments, frames)? {
        Some(starts) => Some(starts),
        None => marked_starts(source, fragments, frames)?,
    };
    let Some(starts) = starts else {
        return Ok(Err(format!(
            "{frames} frames in {} fragments: no table of offsets and no markers tell which belong together",
            fragments.len()
        )));
    };
    let ends = starts.iter().copied().skip(1).chain([fragments.len()]);
    let frames = starts.iter().zip(ends);
    Ok(Ok(frames
        .map(|(&from, to)| fragments[from..to].to_vec())
        .collect()))
}

/// The contents of the items, the table of offsets first.
fn items(
    source: &mut (impl Read + Seek),
    start: u64,
    total: u64,
) -> io::Result<Result<Vec<Range<u64>>, String>> {
    let mut all = Vec::new();
    let mut at = start;
    let mut source = BufReader::with_capacity(HEADS_BYTES, source);
    source.seek(SeekFrom::Start(at))?;
    // Some writers leave the delimiter out at the end of the file.
    while at + HEAD_BYTES <= total {
        let mut head = [0; HEAD_BYTES as usize];
        source.read_exact(&mut head)?;
        let [a, b, c, d, length @ ..] = head;
        let length = u64::from(u32::from_le_bytes(length));
        match [a, b, c, d] {
            ITEM => {
                let content = at + HEAD_BYTES;
                if length > total - content {
                    return Ok(Err(format!(
                        "damaged DICOM: a fragment of {length} bytes is announced at byte {at}, {} are left",
                        total - content
                    )));
                }
                if all.len() >= MAX_FRAGMENTS {
                    return Ok(Err(format!(
                        "more than {MAX_FRAGMENTS} fragments of pixels"
                    )));
                }
                all.push(content..content + length);
                source.seek_relative(length as i64)?;
                at = content + length;
            }
            SEQUENCE_END => break,
            [a, b, c, d] => {
                return Ok(Err(format!(
                    "damaged DICOM: ({b:02x}{a:02x},{d:02x}{c:02x}) stands where a fragment of the pixels is expected"
                )));
            }
        }
    }
    Ok(Ok(all))
}

/// The first fragment of each frame, as the basic offset table says; `None` unless it fits the fragments.
fn table_starts(
    source: &mut (impl Read + Seek),
    table: &Range<u64>,
    fragments: &[Range<u64>],
    frames: usize,
) -> io::Result<Option<Vec<usize>>> {
    if table.end - table.start != 4 * frames as u64 {
        return Ok(None);
    }
    let mut bytes = super::super::pages::reserved(4 * frames)?;
    source.seek(SeekFrom::Start(table.start))?;
    source.take(4 * frames as u64).read_to_end(&mut bytes)?;
    // Offsets count from the head of the first fragment.
    let origin = fragments[0].start;
    let (offsets, _) = bytes.as_chunks::<4>();
    let place = |raw: &[u8; 4]| {
        let at = origin + u64::from(u32::from_le_bytes(*raw));
        fragments.binary_search_by_key(&at, |one| one.start).ok()
    };
    let starts: Option<Vec<usize>> = offsets.iter().map(place).collect();
    let ascends = |starts: &Vec<usize>| {
        starts.first() == Some(&0) && starts.windows(2).all(|pair| pair[0] < pair[1])
    };
    Ok(starts.filter(|starts| starts.len() == frames && ascends(starts)))
}

/// The first fragment of each frame, as the markers of the streams say; `None` unless they give as many frames.
fn marked_starts(
    source: &mut (impl Read + Seek),
    fragments: &[Range<u64>],
    frames: usize,
) -> io::Result<Option<Vec<usize>>> {
    let mut starts = Vec::new();
    let mut ends = vec![0];
    let mut bytes = Vec::new();
    for (n, fragment) in fragments.iter().enumerate() {
        let length = fragment.end - fragment.start;
        bytes.clear();
        source.seek(SeekFrom::Start(fragment.start))?;
        let head = length.min(RLE_HEAD_BYTES as u64);
        source.take(head).read_to_end(&mut bytes)?;
        if FRAME_STARTS.iter().any(|start| bytes.starts_with(start)) || is_rle_head(&bytes) {
            starts.push(n);
        }
        bytes.clear();
        let tail = length.min(END_BYTES);
        source.seek(SeekFrom::Start(fragment.end - tail))?;
        source.take(tail).read_to_end(&mut bytes)?;
        if bytes.windows(2).any(|pair| pair == FRAME_END) {
            ends.push(n + 1);
        }
    }
    ends.pop_if(|&mut end| end == fragments.len());
    let fits = |starts: &Vec<usize>| starts.len() == frames && starts[0] == 0;
    Ok([starts, ends].into_iter().find(fits))
}

/// Whether a fragment begins with the head of an RLE frame: segments that lie one behind the other from its end on, and
/// zeros for those that it does not have.
fn is_rle_head(bytes: &[u8]) -> bool {
    let Some(head) = bytes.first_chunk::<RLE_HEAD_BYTES>() else {
        return false;
    };
    let (numbers, _) = head.as_chunks::<4>();
    let numbers: Vec<usize> = numbers
        .iter()
        .map(|&raw| u32::from_le_bytes(raw) as usize)
        .collect();
    let (count, offsets) = (numbers[0], &numbers[1..]);
    if !(1..=RLE_MOST_SEGMENTS).contains(&count) {
        return false;
    }
    let (used, unused) = offsets.split_at(count);
    used[0] == RLE_HEAD_BYTES
        && used.windows(2).all(|pair| pair[0] < pair[1])
        && unused.iter().all(|&offset| offset == 0)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn encapsulated(table: &[u32], fragments: &[&[u8]], delimited: bool) -> Vec<u8> {
        let table: Vec<u8> = table.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut bytes = vec![9; 5];
        for item in [&[&table[..]], fragments].concat() {
            bytes.extend(ITEM);
            bytes.extend((item.len() as u32).to_le_bytes());
            bytes.extend(item);
        }
        if delimited {
            bytes.extend(SEQUENCE_END);
            bytes.extend([0; 4]);
        }
        bytes
    }

    /// How many fragments each frame has, or the error.
    fn counts(bytes: &[u8], frames: usize) -> Result<Vec<usize>, String> {
        let all = of_frames(&mut Cursor::new(bytes), 5, bytes.len() as u64, frames).unwrap()?;
        Ok(all.iter().map(Vec::len).collect())
    }

    const START: &[u8] = b"\xff\xd8\xffab";
    const MIDDLE: &[u8] = b"middle";
    const END: &[u8] = b"end\xff\xd9\0";
    const WHOLE: &[u8] = b"\xff\x4f\xff\x51\xff\xd9";

    #[test]
    fn frames_of_several_fragments_are_told_by_table_or_markers() {
        let fragments = [START, MIDDLE, END, WHOLE, START, END];
        let offsets = [0, 41, 55];
        for table in [&offsets[..], &[], &[0, 1, 2], &[0, 55, 41], &[7]] {
            for delimited in [false, true] {
                let bytes = encapsulated(table, &fragments, delimited);
                assert_eq!(counts(&bytes, 3), Ok(vec![3, 1, 2]), "{table:?}");
                assert_eq!(counts(&bytes, 6), Ok(vec![1; 6]));
                assert_eq!(counts(&bytes, 1), Ok(vec![6]));
                let error = counts(&bytes, 4).unwrap_err();
                assert!(error.contains("4 frames in 6 fragments"), "{error}");
            }
        }
        // The table counts where nothing in the streams does; ends count where no beginning is known.
        let unmarked = encapsulated(&[0, 14], &[MIDDLE, MIDDLE, MIDDLE], true);
        assert_eq!(counts(&unmarked, 2), Ok(vec![1, 2]));
        let ended = encapsulated(&[], &[MIDDLE, END, MIDDLE, MIDDLE, END], true);
        assert_eq!(counts(&ended, 2), Ok(vec![2, 3]));
    }

    #[test]
    fn rle_frames_of_several_fragments_are_told_by_their_heads() {
        // As many segments as offsets are given, then 20 bytes of them.
        let head = |offsets: &[u32]| {
            let mut numbers = vec![offsets.len() as u32];
            numbers.extend(offsets);
            numbers.resize(16, 0);
            let mut bytes: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
            bytes.extend([7; 20]);
            bytes
        };
        let (one, three) = (head(&[64]), head(&[64, 70, 76]));
        let rest = &[0; 80][..];
        for bytes in [
            encapsulated(&[], &[&one, rest, &three, &one, rest, rest], true),
            encapsulated(&[], &[&three, rest, &one, &three, rest, rest], false),
        ] {
            assert_eq!(counts(&bytes, 3), Ok(vec![2, 1, 3]));
        }
        // Segments out of order, none, and too many, are no heads.
        for other in [head(&[64, 60]), head(&[65]), head(&[]), vec![16; 64]] {
            assert!(!is_rle_head(&other), "{:?}", &other[..8]);
        }
        assert!(is_rle_head(&three) && !is_rle_head(&three[..63]));
    }

    #[test]
    fn items_that_lie_are_errors() {
        let mut bytes = encapsulated(&[], &[START, END], false);
        let cut = &bytes[..bytes.len() - 1];
        let error = counts(cut, 2).unwrap_err();
        assert!(error.contains("a fragment of 6 bytes"), "{error}");
        assert!(
            counts(&bytes[..13], 1)
                .unwrap_err()
                .contains("no fragments")
        );
        bytes[5] = 0x10;
        let error = counts(&bytes, 2).unwrap_err();
        assert!(error.contains("(ff10,e000)"), "{error}");
    }
}

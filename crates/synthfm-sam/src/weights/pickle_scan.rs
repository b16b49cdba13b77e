//! Which classes and functions a `.pth` file names, found without interpreting it.
//!
//! A pickle is a program that may call anything it names. The reader runs none of it, and this scan
//! refuses files that name what a state dict has no use for, so that a file made to attack `torch.load`
//! is reported instead of half understood. It walks the opcodes as Python's `pickletools` lists them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use zip::ZipArchive;

/// Largest pickle accepted; SAM's has 0.1 MB. It also bounds what the reader makes of it.
const MAX_PICKLE: u64 = 4 << 20;
/// Pickles at the start of a file of `PyTorch` before 1.6: magic, protocol, system, state dict.
const LEGACY_PICKLES: usize = 4;

/// Refuses a file whose pickle names anything but tensors and containers.
pub(super) fn refuse_foreign(path: &Path) -> Result<(), String> {
    let io = |e: std::io::Error| e.to_string();
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut start = [0u8; 2];
    file.read_exact(&mut start).map_err(io)?;
    file.rewind().map_err(io)?;
    let (bytes, most) = if start == *b"PK" {
        (zipped_pickle(file, length)?, 1)
    } else {
        let mut bytes = Vec::new();
        file.take(MAX_PICKLE).read_to_end(&mut bytes).map_err(io)?;
        (bytes, LEGACY_PICKLES)
    };
    let mut scan = Scan {
        rest: &bytes,
        memo: BTreeMap::new(),
        last: [None, None],
    };
    for pickle in 0..most {
        // A file that is one plain pickle ends early.
        if pickle > 0 && scan.rest.first() != Some(&0x80) {
            break;
        }
        scan.memo.clear();
        scan.pickle()?;
    }
    Ok(())
}

/// `data.pkl` of a zip; stored or not, it may not exceed the file.
fn zipped_pickle(file: File, length: u64) -> Result<Vec<u8>, String> {
    let fail = |e: zip::result::ZipError| e.to_string();
    let mut zip = ZipArchive::new(std::io::BufReader::new(file)).map_err(|e| {
        // The table of contents is the end of a zip: a download that stopped has none.
        format!(
            "the zip has no readable table of contents ({e}); the file of {length} bytes is probably incomplete: \
             download it again"
        )
    })?;
    let names: Vec<usize> = (0..zip.len())
        .filter(|&i| {
            zip.by_index_raw(i)
                .is_ok_and(|entry| entry.name().is_ok_and(|name| name.ends_with("data.pkl")))
        })
        .collect();
    let [index] = names[..] else {
        return Err(format!(
            "expected one data.pkl in the zip, found {}",
            names.len()
        ));
    };
    let entry = zip.by_index(index).map_err(fail)?;
    let most = MAX_PICKLE.min(length);
    if entry.size() > most {
        return Err(format!(
            "data.pkl unpacks to {} bytes, more than the {most} that it may have",
            entry.size()
        ));
    }
    let mut bytes = Vec::new();
    entry
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// Whether a state dict may name `module.name`.
fn is_expected(module: &str, name: &str) -> bool {
    match module {
        "collections" => name == "OrderedDict",
        "torch._utils" => {
            name.starts_with("_rebuild_tensor") || name.starts_with("_rebuild_parameter")
        }
        "torch" => name.ends_with("Storage") || name == "Size" || name == "device",
        "torch.storage" => name == "UntypedStorage" || name == "TypedStorage",
        "builtins" | "__builtin__" => name == "set" || name == "frozenset",
        _ => false,
    }
}

/// A walk through the opcodes that follows texts only.
struct Scan<'a> {
    rest: &'a [u8],
    memo: BTreeMap<u64, Option<&'a [u8]>>,
    /// The two values pushed last, where they are texts. Whatever else changes the stack pushes `None`.
    last: [Option<&'a [u8]>; 2],
}

impl<'a> Scan<'a> {
    /// Reads up to the end of one pickle.
    fn pickle(&mut self) -> Result<(), String> {
        loop {
            let code = self.take(1)?[0];
            match code {
                b'.' => return Ok(()),
                // GLOBAL, INST
                b'c' | b'i' => {
                    let (module, name) = (self.line()?, self.line()?);
                    check(module, name)?;
                    self.push(None);
                }
                // STACK_GLOBAL
                0x93 => {
                    let [Some(module), Some(name)] = self.last else {
                        return Err("its pickle hides the name of a class".to_owned());
                    };
                    check(module, name)?;
                    self.push(None);
                }
                // EXT1, EXT2, EXT4: names in a registry of the reading program
                0x82..=0x84 => return Err("its pickle uses registered extensions".to_owned()),
                // SHORT_BINUNICODE, SHORT_BINSTRING; BINUNICODE, BINSTRING; BINUNICODE8
                0x8c | b'U' => self.text(1)?,
                b'X' | b'T' => self.text(4)?,
                0x8d => self.text(8)?,
                // STRING, UNICODE
                b'S' | b'V' => {
                    let text = self.line()?;
                    self.push(Some(trim_quotes(text)));
                }
                // SHORT_BINBYTES, LONG1; BINBYTES, LONG4; BINBYTES8, BYTEARRAY8
                b'C' | 0x8a => self.skip_counted(1)?,
                b'B' | 0x8b => self.skip_counted(4)?,
                0x8e | 0x96 => self.skip_counted(8)?,
                // PUT, BINPUT, LONG_BINPUT, MEMOIZE
                b'p' => {
                    let index = self.index()?;
                    self.remember(index);
                }
                b'q' => {
                    let index = self.number(1)?;
                    self.remember(index);
                }
                b'r' => {
                    let index = self.number(4)?;
                    self.remember(index);
                }
                0x94 => self.remember(self.memo.len() as u64),
                // GET, BINGET, LONG_BINGET
                b'g' => {
                    let index = self.index()?;
                    self.recall(index);
                }
                b'h' => {
                    let index = self.number(1)?;
                    self.recall(index);
                }
                b'j' => {
                    let index = self.number(4)?;
                    self.recall(index);
                }
                // INT, LONG, FLOAT, PERSID
                b'I' | b'L' | b'F' | b'P' => {
                    self.line()?;
                    self.push(None);
                }
                // BININT1; BININT2; BININT; BINFLOAT
                b'K' => self.skip(1)?,
                b'M' => self.skip(2)?,
                b'J' => self.skip(4)?,
                b'G' => self.skip(8)?,
                // PROTO, FRAME
                0x80 => {
                    self.take(1)?;
                }
                0x95 => {
                    self.take(8)?;
                }
                // Everything else has no argument.
                b'('
                | b'0'
                | b'1'
                | b'2'
                | b'N'
                | b'Q'
                | b'R'
                | b'a'
                | b'b'
                | b'd'
                | b'e'
                | b'l'
                | b'o'
                | b's'
                | b't'
                | b'u'
                | b')'
                | b']'
                | b'}'
                | 0x81
                | 0x85..=0x89
                | 0x8f..=0x92
                | 0x97
                | 0x98 => self.push(None),
                _ => return Err(format!("its pickle holds the unknown opcode {code:#04x}")),
            }
        }
    }

    fn push(&mut self, text: Option<&'a [u8]>) {
        self.last.swap(0, 1);
        self.last[1] = text;
    }

    fn remember(&mut self, index: u64) {
        self.memo.insert(index, self.last[1]);
    }

    fn recall(&mut self, index: u64) {
        self.push(self.memo.get(&index).copied().flatten());
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or("its pickle is truncated or too long")?;
        self.rest = rest;
        Ok(taken)
    }

    fn line(&mut self) -> Result<&'a [u8], String> {
        let end = self.rest.iter().position(|&b| b == b'\n');
        let end = end.ok_or("its pickle is truncated or too long")?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(line)
    }

    /// A little-endian number of up to eight bytes.
    fn number(&mut self, bytes: usize) -> Result<u64, String> {
        let bytes = self.take(bytes)?;
        Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    fn index(&mut self) -> Result<u64, String> {
        std::str::from_utf8(self.line()?)
            .ok()
            .and_then(|line| line.trim().parse().ok())
            .ok_or_else(|| "its pickle refers to no number".to_owned())
    }

    fn text(&mut self, bytes: usize) -> Result<(), String> {
        let count = self.number(bytes)? as usize;
        let text = self.take(count)?;
        self.push(Some(text));
        Ok(())
    }

    fn skip_counted(&mut self, bytes: usize) -> Result<(), String> {
        let count = self.number(bytes)? as usize;
        self.skip(count)
    }

    fn skip(&mut self, count: usize) -> Result<(), String> {
        self.take(count)?;
        self.push(None);
        Ok(())
    }
}

/// A text of protocol 0 without its quotes.
fn trim_quotes(text: &[u8]) -> &[u8] {
    match text {
        [b'\'' | b'"', inner @ .., b'\'' | b'"'] => inner,
        _ => text,
    }
}

fn check(module: &[u8], name: &[u8]) -> Result<(), String> {
    let (module, name) = (
        String::from_utf8_lossy(module),
        String::from_utf8_lossy(name),
    );
    if is_expected(&module, &name) {
        return Ok(());
    }
    let shown: String = format!("{module}.{name}").chars().take(80).collect();
    Err(format!(
        "it names {shown:?}, which a file of weights has no use for, and nothing was read; if you trust the \
         file, load it in PyTorch and save its state_dict() alone"
    ))
}

//! Bits of a JPEG-LS scan (ISO 14495-1, 9.1 and A.5): after a byte of ones the next byte has 7 bits.

/// Reads bits, the highest first.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bits that were taken from the bytes and not read, the next one highest.
    held: u64,
    count: u32,
    after_ones: bool,
}

const TRUNCATED: &str = "the JPEG-LS scan is truncated";

impl<'a> Bits<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            held: 0,
            count: 0,
            after_ones: false,
        }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let Some(&byte) = self.bytes.get(self.at) else {
                return;
            };
            if byte == 0xff && self.bytes.get(self.at + 1).is_none_or(|&b| b & 0x80 != 0) {
                // A marker: the scan ends before it.
                return;
            }
            let width = if self.after_ones { 7 } else { 8 };
            self.held |= u64::from(byte) << (64 - width - self.count);
            self.count += width;
            self.after_ones = byte == 0xff;
            self.at += 1;
        }
    }

    /// `count` bits as a number; at most 32.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, String> {
        if count == 0 {
            return Ok(0);
        }
        if self.count < count {
            self.fill();
            if self.count < count {
                return Err(TRUNCATED.to_owned());
            }
        }
        let value = self.held >> (64 - count);
        self.held <<= count;
        self.count -= count;
        Ok(value as u32)
    }

    /// Number of zeros before the next one, which is read too. More than `limit` are an error.
    fn zeros(&mut self, limit: u32) -> Result<u32, String> {
        let mut zeros = 0;
        loop {
            if self.count == 0 {
                self.fill();
                if self.count == 0 {
                    return Err(TRUNCATED.to_owned());
                }
            }
            let run = self.held.leading_zeros().min(self.count);
            zeros += run;
            if zeros > limit {
                return Err("a JPEG-LS code is longer than the limit".to_owned());
            }
            if run < self.count {
                self.held <<= run + 1;
                self.count -= run + 1;
                return Ok(zeros);
            }
            self.held = 0;
            self.count = 0;
        }
    }

    /// A limited-length Golomb code (A.5.3).
    pub(super) fn golomb(&mut self, k: u32, limit: u32, qbpp: u32) -> Result<i32, String> {
        let escape = limit.saturating_sub(qbpp + 1);
        let zeros = self.zeros(limit)?;
        let value = if zeros < escape {
            (u64::from(zeros) << k) + u64::from(self.take(k)?)
        } else {
            u64::from(self.take(qbpp)?) + 1
        };
        i32::try_from(value).map_err(|_| "a JPEG-LS code is out of range".to_owned())
    }

    /// Goes on behind a restart marker; what is left of the bits before it is padding.
    pub(super) fn restart(&mut self) -> Result<(), String> {
        let is_marker = |pair: &[u8]| pair[0] == 0xff && pair[1] & 0x80 != 0 && pair[1] != 0xff;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let found = rest.windows(2).position(is_marker);
        let marker = found.map(|at| rest[at + 1]);
        let (Some(at), Some(0xd0..=0xd7)) = (found, marker) else {
            return Err("a JPEG-LS restart marker is missing".to_owned());
        };
        self.at += at + 2;
        (self.held, self.count, self.after_ones) = (0, 0, false);
        Ok(())
    }

    /// Where the bytes of the scan end.
    pub(super) const fn end(&self) -> usize {
        self.at
    }
}

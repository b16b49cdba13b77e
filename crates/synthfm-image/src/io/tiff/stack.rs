//! How the pages of a file follow one another: slices, channels and frames, as `ImageJ` and OME write them.

/// Axes of a stack besides rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    Channel,
    Slice,
    Frame,
}

/// Axes with their lengths, the fastest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stack([(Axis, usize); 3]);

impl Stack {
    /// Parses a page's description; `None` where it describes no stack.
    pub(super) fn of(description: &str) -> Option<Self> {
        if description.starts_with("ImageJ=") {
            return Self::of_imagej(description);
        }
        Self::of_ome(description)
    }

    /// Lines such as `slices=4`; channels are the fastest, then slices, then frames.
    fn of_imagej(description: &str) -> Option<Self> {
        let number = |name: &str| {
            let mut values = description.lines().filter_map(|line| {
                let (key, value) = line.split_once('=')?;
                (key.trim() == name).then(|| value.trim().parse::<usize>().ok())?
            });
            values.next()
        };
        let images = number("images").unwrap_or(1).max(1);
        let [channels, slices, frames] =
            ["channels", "slices", "frames"].map(|name| number(name).unwrap_or(1).max(1));
        let all = channels.checked_mul(slices)?.checked_mul(frames)?;
        let slices = if all == images { slices } else { images };
        let [channels, frames] = if all == images {
            [channels, frames]
        } else {
            [1, 1]
        };
        Some(Self([
            (Axis::Channel, channels),
            (Axis::Slice, slices),
            (Axis::Frame, frames),
        ]))
    }

    /// Attributes such as `SizeZ="4"` and `DimensionOrder="XYCZT"` of OME-XML.
    fn of_ome(description: &str) -> Option<Self> {
        let pixels = description.split_once("<Pixels")?.1.split('>').next()?;
        let value = |name: &str| {
            let (_, rest) = pixels.split_once(&format!(" {name}=\""))?;
            rest.split('"').next()
        };
        let order = value("DimensionOrder")?.strip_prefix("XY")?;
        let mut axes = [(Axis::Slice, 1); 3];
        if order.len() != 3 {
            return None;
        }
        for (place, letter) in axes.iter_mut().zip(order.chars()) {
            *place = match letter {
                'C' => (Axis::Channel, value("SizeC")?.parse().ok()?),
                'Z' => (Axis::Slice, value("SizeZ")?.parse().ok()?),
                'T' => (Axis::Frame, value("SizeT")?.parse().ok()?),
                _ => return None,
            };
        }
        Some(Self(axes))
    }

    /// Pages in all.
    pub(super) fn pages(&self) -> Option<usize> {
        let [a, b, c] = self.0.map(|(_, length)| length);
        a.checked_mul(b)?.checked_mul(c)
    }

    fn length(&self, wanted: Axis) -> usize {
        let axis = self.0.iter().find(|(axis, _)| *axis == wanted);
        axis.map_or(1, |&(_, length)| length)
    }

    /// The axis along which a volume's slices follow one another.
    fn depth(&self) -> Axis {
        if self.length(Axis::Slice) > 1 {
            Axis::Slice
        } else {
            Axis::Frame
        }
    }

    /// Volumes in the file: one per channel, and per frame where there are slices as well.
    pub(super) fn volumes(&self) -> usize {
        let others = self.0.iter().filter(|(axis, _)| *axis != self.depth());
        others.map(|(_, length)| length).product()
    }

    /// Numbers of the pages of a volume; of several volumes channels are counted first.
    pub(super) fn pages_of(&self, volume: usize) -> Vec<usize> {
        let channels = self.length(Axis::Channel).max(1);
        let (channel, frame) = (volume % channels, volume / channels);
        let page = |along: usize| {
            let mut stride = 1;
            let mut page = 0;
            for &(axis, length) in &self.0 {
                let at = match axis {
                    axis if axis == self.depth() => along,
                    Axis::Channel => channel,
                    Axis::Frame => frame,
                    Axis::Slice => 0,
                };
                page += at * stride;
                stride *= length;
            }
            page
        };
        (0..self.length(self.depth())).map(page).collect()
    }

    /// The stack in words.
    pub(super) fn words(&self) -> String {
        let [channels, slices, frames] =
            [Axis::Channel, Axis::Slice, Axis::Frame].map(|axis| self.length(axis));
        let mut words = Vec::new();
        for (count, name) in [
            (channels, "channels"),
            (slices, "slices"),
            (frames, "frames"),
        ] {
            if count > 1 {
                words.push(format!("{count} {name}"));
            }
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagej_counts_channels_then_slices_then_frames() {
        let text = "ImageJ=1.53\nimages=24\nchannels=2\nslices=4\nframes=3\nhyperstack=true\n";
        let stack = Stack::of(text).unwrap();
        assert_eq!((stack.pages(), stack.volumes()), (Some(24), 6));
        assert_eq!(stack.pages_of(0), [0, 2, 4, 6]);
        assert_eq!(stack.pages_of(1), [1, 3, 5, 7]);
        assert_eq!(stack.pages_of(4), [16, 18, 20, 22]);
        assert_eq!(stack.words(), "2 channels, 4 slices, 3 frames");
        // A film: its frames are the slices.
        let film = Stack::of("ImageJ=1.53\nimages=6\nchannels=2\nframes=3\n").unwrap();
        assert_eq!((film.volumes(), film.pages_of(1)), (2, vec![1, 3, 5]));
        let plain = Stack::of("ImageJ=1.53\nimages=5\n").unwrap();
        assert_eq!(
            (plain.volumes(), plain.pages_of(0)),
            (1, vec![0, 1, 2, 3, 4])
        );
    }

    #[test]
    fn ome_states_its_order() {
        let text = |order: &str| {
            format!(
                "<?xml version=\"1.0\"?><OME><Image ID=\"0\"><Pixels DimensionOrder=\"{order}\" SizeC=\"2\" SizeT=\"1\" \
                 SizeX=\"5\" SizeY=\"4\" SizeZ=\"3\"></Pixels></Image></OME>"
            )
        };
        let by_slice = Stack::of(&text("XYZCT")).unwrap();
        assert_eq!(
            (by_slice.volumes(), by_slice.pages_of(1)),
            (2, vec![3, 4, 5])
        );
        let by_channel = Stack::of(&text("XYCZT")).unwrap();
        assert_eq!(by_channel.pages_of(1), [1, 3, 5]);
        assert_eq!(Stack::of(&text("XYCZ")), None);
        assert_eq!(Stack::of("a picture"), None);
    }
}

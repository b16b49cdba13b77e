//! Coded names of structures (SNOMED CT), by which other programs know what a segment is.

/// Category of a structure and its type: code value, meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Concept {
    pub(super) category: (&'static str, &'static str),
    pub(super) kind: (&'static str, &'static str),
}

const ANATOMY: (&str, &str) = ("123037004", "Anatomical Structure");
const ABNORMAL: (&str, &str) = ("49755003", "Morphologically Abnormal Structure");
const TISSUE: Concept = Concept {
    category: ("85756007", "Tissue"),
    kind: ("85756007", "Tissue"),
};

/// Names, in lower case with spaces, and their concepts.
const KNOWN: [(&str, &str, &str); 20] = [
    ("liver", "10200004", "Liver"),
    ("spleen", "78961009", "Spleen"),
    ("kidney", "64033007", "Kidney"),
    ("left kidney", "18639004", "Left kidney"),
    ("kidney left", "18639004", "Left kidney"),
    ("right kidney", "9846003", "Right kidney"),
    ("kidney right", "9846003", "Right kidney"),
    ("heart", "80891009", "Heart"),
    ("lung", "39607008", "Lung"),
    ("lungs", "39607008", "Lung"),
    ("stomach", "69695003", "Stomach"),
    ("pancreas", "15776009", "Pancreas"),
    ("gallbladder", "28231008", "Gallbladder"),
    ("aorta", "15825003", "Aorta"),
    ("brain", "12738006", "Brain"),
    ("bladder", "89837001", "Urinary bladder"),
    ("urinary bladder", "89837001", "Urinary bladder"),
    ("prostate", "41216001", "Prostate"),
    ("spine", "421060004", "Vertebral column"),
    ("vertebral column", "421060004", "Vertebral column"),
];

const LESIONS: [&str; 4] = ["lesion", "tumour", "tumor", "mass"];

/// The concept of a structure's name; tissue if it is not known.
pub(super) fn concept(name: &str) -> Concept {
    let name = name.to_lowercase().replace(['_', '-'], " ");
    if let Some(&(_, value, meaning)) = KNOWN.iter().find(|(known, ..)| *known == name) {
        return Concept {
            category: ANATOMY,
            kind: (value, meaning),
        };
    }
    if LESIONS
        .iter()
        .any(|lesion| name.split(' ').any(|word| word == *lesion))
    {
        return Concept {
            category: ABNORMAL,
            kind: ("4147007", "Mass"),
        };
    }
    TISSUE
}

/// `CIELab` of an sRGB colour (white point D65) as DICOM encodes it (PS3.3, C.10.7.1.1).
pub(super) fn cielab(colour: [u8; 3]) -> [u16; 3] {
    let [r, g, b] = colour.map(|v| {
        let v = f64::from(v) / 255.0;
        if v > 0.04045 {
            ((v + 0.055) / 1.055).powf(2.4)
        } else {
            v / 12.92
        }
    });
    let xyz = [
        (0.412_456_4 * r + 0.357_576_1 * g + 0.180_437_5 * b) / 0.950_456,
        0.212_672_9 * r + 0.715_152_2 * g + 0.072_175_0 * b,
        (0.019_333_9 * r + 0.119_192_0 * g + 0.950_304_1 * b) / 1.088_754,
    ];
    let [fx, fy, fz] = xyz.map(|v| {
        if v > 0.008_856 {
            v.cbrt()
        } else {
            7.787 * v + 16.0 / 116.0
        }
    });
    let (l, a, b) = (116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz));
    let scaled = |share: f64| (share * 65535.0).round().clamp(0.0, 65535.0) as u16;
    [
        scaled(l / 100.0),
        scaled((a + 128.0) / 255.0),
        scaled((b + 128.0) / 255.0),
    ]
}

/// The sRGB colour of a `CIELab` value; the inverse of [`cielab`].
pub(in crate::io) fn srgb([l, a, b]: [u16; 3]) -> [u8; 3] {
    let share = |v: u16| f64::from(v) / 65535.0;
    let fy = (share(l) * 100.0 + 16.0) / 116.0;
    let fx = fy + (share(a) * 255.0 - 128.0) / 500.0;
    let fz = fy - (share(b) * 255.0 - 128.0) / 200.0;
    let [x, y, z] = [fx, fy, fz].map(|f| {
        let cube = f * f * f;
        if cube > 0.008_856 {
            cube
        } else {
            (f - 16.0 / 116.0) / 7.787
        }
    });
    let (x, z) = (x * 0.950_456, z * 1.088_754);
    let linear = [
        3.240_454_2 * x - 1.537_138_5 * y - 0.498_531_4 * z,
        -0.969_266_0 * x + 1.876_010_8 * y + 0.041_556_0 * z,
        0.055_643_4 * x - 0.204_025_9 * y + 1.057_225_2 * z,
    ];
    linear.map(|v| {
        let v = if v > 0.003_130_8 {
            1.055 * v.powf(1.0 / 2.4) - 0.055
        } else {
            12.92 * v
        };
        (v * 255.0).round().clamp(0.0, 255.0) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_return_and_white_is_white() {
        let [l, a, b] = cielab([255; 3]);
        assert_eq!(l, 65535);
        // 128 / 255 of the range is no colour.
        assert!(a.abs_diff(32896) < 20 && b.abs_diff(32896) < 20, "{a} {b}");
        for colour in [
            [0, 0, 0],
            [255, 200, 0],
            [60, 160, 255],
            [1, 2, 3],
            [128, 64, 250],
        ] {
            let back = srgb(cielab(colour));
            let near = colour.iter().zip(back).all(|(&a, b)| a.abs_diff(b) <= 1);
            assert!(near, "{colour:?} {back:?}");
        }
    }

    #[test]
    fn names_find_their_codes() {
        assert_eq!(concept("Kidney_Left").kind.0, "18639004");
        assert_eq!(concept("lesion_malignant").category, ABNORMAL);
        assert_eq!(concept("something"), TISSUE);
    }
}

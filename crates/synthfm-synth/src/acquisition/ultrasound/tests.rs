use super::*;
use crate::acquisition::testing::{SIZE, UNIT_PX};

const LINEAR: Probe = Probe::Linear {
    min: [0.0, 0.0],
    max: [1.475, 1.0],
};

/// Neither speckle nor gains, and a point spread without width.
fn nothing() -> UltrasoundParams {
    UltrasoundParams {
        seed: 5,
        probe: LINEAR,
        axial: 0.0,
        lateral: 0.0,
        focus: 0.5,
        divergence: 0.0,
        dynamic_range_db: 50.0,
        speckle: 0.0,
        specular: 0.0,
        shadowing_db: 0.0,
        enhancement_db: 0.0,
        gain_db: vec![],
        near_field: 0.0,
        shadows: vec![],
    }
}

fn imaged(params: &UltrasoundParams, of: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let mut data: Vec<f32> = (0..SIZE.area()).map(|at| of(at / 90, at % 90)).collect();
    apply(params, &mut data, SIZE, UNIT_PX);
    data
}

#[test]
fn zero_strength_keeps_the_image() {
    let slope = |row: usize, col: usize| 0.1 + 0.005 * row as f32 + 0.004 * col as f32;
    let data = imaged(&nothing(), slope);
    for row in 2..59 {
        for col in 2..88 {
            let got = data[SIZE.index(row, col)];
            assert!((got - slope(row, col)).abs() < 2e-3, "{row} {col} {got}");
        }
    }
}

#[test]
fn logarithm_and_amplitude_are_exact_enough() {
    for value in [1e-12_f32, 0.003, 0.7, 1.0, 1.5, 77.7] {
        // An ulp of -39.86 is 4e-6.
        assert!((log2(value) - value.log2()).abs() < 5e-6);
    }
    let amplitude = Amplitude::new(60.0);
    for b in [0.0, 0.3, 0.95] {
        let expected = 10.0_f32.powf((b - 1.0) * 3.0);
        assert!((amplitude.of(b) / expected - 1.0).abs() < 1e-4);
    }
}

/// The logarithm of a Rayleigh envelope has the standard deviation 5.57 dB and, relative to the root
/// mean square, the mean -2.51 dB (Burckhardt 1978).
#[test]
fn log_compressed_speckle_has_its_closed_moments() {
    let size = Size::new(301, 403);
    let mut params = nothing();
    params.speckle = 1.0;
    params.axial = 1.5 / 301.0;
    params.lateral = 2.0 / 301.0;
    params.probe = Probe::Linear {
        min: [0.0, 0.0],
        max: [403.0 / 301.0, 1.0],
    };
    let sampling = params.probe.sampling([1.0, 1.0], 0.5, 301.0);
    let beams = params
        .probe
        .sample(&vec![0.6; size.area()], size, 301.0, &sampling);
    let psf = PointSpread::new(&params, &sampling, 301.0);
    let (real, imaginary) = echoes(&params, &beams, &sampling, &psf, 301.0);
    let decibels: Vec<f64> = real
        .iter()
        .zip(&*imaginary)
        .map(|(re, im)| 10.0 * f64::from(re * re + im * im).log10())
        .collect();
    let inner = |at: &usize| {
        let (range, beam) = (at / sampling.size.width, at % sampling.size.width);
        (20..280).contains(&range) && (20..380).contains(&beam)
    };
    let picked: Vec<f64> = (0..decibels.len())
        .filter(inner)
        .map(|at| decibels[at])
        .collect();
    let mean = picked.iter().sum::<f64>() / picked.len() as f64;
    let variance =
        picked.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / picked.len() as f64;
    // Brightness 0.6 is -20 dB. About 2500 independent cells: a standard error of 0.11 dB.
    assert!((mean + 22.51).abs() < 0.5, "{mean}");
    assert!((variance.sqrt() - 5.57).abs() < 0.4, "{}", variance.sqrt());
}

#[test]
fn speckle_of_a_fan_widens_with_depth() {
    let params = UltrasoundParams {
        probe: Probe::Fan {
            apex: [0.5, -0.1],
            half_angle: 0.5,
            near: 0.2,
            far: 1.0,
        },
        axial: 0.004,
        lateral: 0.008,
        focus: 0.1,
        divergence: 3.0,
        ..nothing()
    };
    let sampling = params.probe.sampling([1.0, 2.0], params.focus, 300.0);
    let psf = PointSpread::new(&params, &sampling, 300.0);
    let width_px = |range: usize| psf.lateral[range] * sampling.beam_distance_px(range);
    let at = |depth: f32| (depth * 300.0 / sampling.range_px) as usize;
    // In the focus 2.4 px; 0.5 below it sqrt(1 + 1.5²) as much.
    assert!((width_px(at(0.1)) - 2.4).abs() < 0.01);
    assert!((width_px(at(0.6)) / 2.4 - 3.25_f32.sqrt()).abs() < 0.02);
}

#[test]
fn bright_matter_casts_a_shadow_and_fluid_enhances() {
    let params = UltrasoundParams {
        shadowing_db: 300.0,
        enhancement_db: 30.0,
        ..nothing()
    };
    let scene = |row: usize, col: usize| match (row, col) {
        (20..=26, 20..=35) => 1.0,
        (15..=35, 55..=75) => 0.0,
        _ => 0.4,
    };
    let data = imaged(&params, scene);
    let at = |row: usize, col: usize| data[SIZE.index(row, col)];
    assert!((at(50, 45) - 0.4).abs() < 0.02, "beside both: unchanged");
    assert!(at(50, 28) < 0.15, "shadow {}", at(50, 28));
    assert!(at(50, 65) > 0.45, "enhancement {}", at(50, 65));
    assert!((at(10, 28) - 0.4).abs() < 0.02, "above: unchanged");
    // The edge is soft: it falls over several beams.
    let edge: Vec<f32> = (30..44).map(|col| at(50, col)).collect();
    assert!(
        edge.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.2),
        "{edge:?}"
    );
}

#[test]
fn boundaries_echo_where_they_face_the_beam() {
    let params = UltrasoundParams {
        specular: 2.0,
        ..nothing()
    };
    let facing = imaged(&params, |row, _| if row < 30 { 0.2 } else { 0.5 });
    let along = imaged(&params, |_, col| if col < 45 { 0.2 } else { 0.5 });
    let most = |data: &[f32]| data.iter().copied().fold(0.0, f32::max);
    assert!(most(&facing) > 0.7, "{}", most(&facing));
    assert!(most(&along) < 0.52, "{}", most(&along));
}

#[test]
fn gains_are_decibels_of_the_dynamic_range() {
    let params = UltrasoundParams {
        gain_db: vec![0.0, 10.0],
        shadows: vec![BeamShadow {
            beam: 0.5,
            half_width: 0.1,
            start: 0.0,
            gain_db: -15.0,
        }],
        ..nothing()
    };
    let data = imaged(&params, |_, _| 0.4);
    // 10 dB of 50 at the bottom, half of it half way down.
    assert!((data[SIZE.index(30, 5)] - 0.5).abs() < 5e-3);
    assert!((data[SIZE.index(59, 5)] - 0.6).abs() < 6e-3);
    assert!((data[SIZE.index(30, 45)] - 0.2).abs() < 5e-3);
}

#[test]
fn probes_out_of_range_are_refused() {
    let mut params = nothing();
    params.validate().unwrap();
    params.probe = Probe::Fan {
        apex: [0.5, 0.0],
        half_angle: 1.6,
        near: 0.1,
        far: 1.0,
    };
    let message = params.validate().unwrap_err().to_string();
    assert!(message.contains("half_angle"), "{message}");
    params = nothing();
    params.dynamic_range_db = 0.0;
    let message = params.validate().unwrap_err().to_string();
    assert!(message.starts_with("acquisition.ultrasound"), "{message}");
}

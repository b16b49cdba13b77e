//! The hand-written CPU operations against the tensor library's own, values and gradients.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData, activation, module};
use synthfm_sam::ops;

/// Values in [-2, 2) that look random and are the same on every machine.
fn noise<const D: usize>(shape: [usize; D], salt: u32, device: &Device) -> Tensor<D> {
    let count: usize = shape.iter().product();
    let value = |i: usize| {
        let mut x = (i as u32).wrapping_mul(0x9E37_79B9) ^ salt.wrapping_mul(0x85EB_CA6B);
        x = (x ^ (x >> 15)).wrapping_mul(0x2C1B_3C6D);
        x ^= x >> 12;
        (x as f32 / u32::MAX as f32) * 4.0 - 2.0
    };
    Tensor::from_data(
        TensorData::new((0..count).map(value).collect::<Vec<f32>>(), shape),
        device,
    )
}

/// Largest difference relative to the largest value of `expected`.
fn error<const D: usize>(got: Tensor<D>, expected: Tensor<D>) -> f32 {
    let largest: f32 = expected.clone().abs().max().into_scalar();
    let worst: f32 = (got - expected).abs().max().into_scalar();
    worst / largest
}

#[test]
fn convolution_equals_the_librarys() {
    let device = Device::flex().autodiff();
    for (side, relu) in [(1, false), (3, false), (3, true), (5, true)] {
        // Odd, non-square, more rows than one tile of the kernel.
        let (b, h, w, c, o) = (2, 41, 23, 5, 7);
        let leaf = |shape: [usize; 4], salt| noise(shape, salt, &device).require_grad();
        let (x, weight) = (leaf([b, h, w, c], 1), leaf([side, side, c, o], 2));
        let bias = noise([o], 3, &device).require_grad();
        let mix = noise([b, h, w, o], 4, &device);

        let ours = ops::conv(x.clone(), weight.clone(), bias.clone(), relu);
        let options = ConvOptions::new([1, 1], [side / 2, side / 2], [1, 1], 1);
        let (nchw, oihw) = (
            x.clone().permute([0, 3, 1, 2]),
            weight.clone().permute([3, 2, 0, 1]),
        );
        let theirs = module::conv2d(nchw, oihw, Some(bias.clone()), options).permute([0, 2, 3, 1]);
        let theirs = if relu {
            activation::relu(theirs)
        } else {
            theirs
        };

        assert!(
            error(ours.clone().inner(), theirs.clone().inner()) < 1e-5,
            "side {side}, relu {relu}"
        );
        let (a, e) = (
            (ours * mix.clone()).sum().backward(),
            (theirs * mix).sum().backward(),
        );
        assert!(
            error(x.grad(&a).unwrap(), x.grad(&e).unwrap()) < 1e-5,
            "by input, side {side}"
        );
        assert!(
            error(weight.grad(&a).unwrap(), weight.grad(&e).unwrap()) < 1e-5,
            "by weight, side {side}"
        );
        assert!(
            error(bias.grad(&a).unwrap(), bias.grad(&e).unwrap()) < 1e-5,
            "by bias, side {side}"
        );
    }
}

#[test]
fn layer_norm_equals_its_formula() {
    let device = Device::flex().autodiff();
    for channels in [1, 5, 33] {
        let x = noise([3, 50, channels], 5, &device).require_grad();
        let gamma = noise([channels], 6, &device).require_grad();
        let beta = noise([channels], 7, &device).require_grad();
        let mix = noise([3, 50, channels], 8, &device);
        let ours = ops::layer_norm(x.clone(), gamma.clone(), beta.clone(), 1e-3);
        let centred = x.clone() - x.clone().mean_dim(2);
        let variance = centred.clone().square().mean_dim(2);
        let theirs = centred / (variance + 1e-3).sqrt() * gamma.clone().reshape([1, 1, channels])
            + beta.clone().reshape([1, 1, channels]);
        assert!(error(ours.clone().inner(), theirs.clone().inner()) < 1e-5);
        let (a, e) = (
            (ours * mix.clone()).sum().backward(),
            (theirs * mix).sum().backward(),
        );
        if channels > 1 {
            assert!(error(x.grad(&a).unwrap(), x.grad(&e).unwrap()) < 1e-5);
            assert!(error(gamma.grad(&a).unwrap(), gamma.grad(&e).unwrap()) < 1e-5);
        }
        assert!(error(beta.grad(&a).unwrap(), beta.grad(&e).unwrap()) < 1e-5);
    }
}

#[test]
#[expect(clippy::excessive_precision, reason = "the oracle's digits")]
fn gelu_is_the_exact_one() {
    let device = Device::flex().autodiff();
    let x = Tensor::<1>::from_floats([-9.0, -3.0, -1.0, -0.1, 0.0, 0.5, 1.0, 4.0], &device)
        .require_grad();
    let y = ops::gelu(x.clone());
    // scipy.stats.norm: x·cdf(x), and cdf(x) + x·pdf(x)
    let expected = [
        -1.015_729e-18,
        -0.004_049_694,
        -0.158_655_25,
        -0.046_017_22,
        0.0,
        0.345_731_23,
        0.841_344_75,
        3.999_873_3,
    ];
    let slopes = [
        0.0,
        -0.011_945_647,
        -0.083_315_47,
        0.420_476_9,
        0.5,
        0.867_495_14,
        1.083_315_5,
        1.000_503_6,
    ];
    let gradient = x.grad(&y.clone().sum().backward()).unwrap();
    for (got, expected) in [(y.inner(), expected), (gradient, slopes)] {
        let got: Vec<f32> = got.into_data().try_into_vec().unwrap();
        for (g, e) in got.iter().zip(expected) {
            assert!((g - e).abs() < 2e-6, "{g}, expected {e}");
        }
    }
}

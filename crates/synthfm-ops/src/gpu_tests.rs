//! Every operation on every GPU, or software device, that is there: values and gradients against the CPU's.

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::{self as ops, Activation, Arithmetic, DeviceChoice, Sampling, devices};

/// Both sides compute in single precision, but sum in other orders, and drivers approximate `exp` and the like:
/// Vulkan allows `exp` an error of 3 + 2 |x| units in the last place.
const TOLERANCE: f32 = 2e-5;

/// Every device that is found but the CPU; none is a failure where `SYNTHFM_REQUIRE_GPU` is set.
fn gpus() -> Vec<Device> {
    let found = devices().split_off(1);
    let required = std::env::var_os("SYNTHFM_REQUIRE_GPU").is_some();
    assert!(
        !(found.is_empty() && required),
        "there is no GPU, nor a software device"
    );
    let choices = found.iter().map(|found| found.name.parse().unwrap());
    choices
        .map(|choice: DeviceChoice| choice.open().unwrap().device)
        .collect()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

/// The largest difference, as a part of the largest expected magnitude.
fn worst_difference(got: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let differences = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
    // A NaN is a difference, which `max` would pass over.
    let worst = differences.fold(0f32, |m, d| if d > m || d.is_nan() { d } else { m });
    if worst == 0.0 { 0.0 } else { worst / largest }
}

/// Values in [-1, 1] without a pattern.
fn noise(count: usize, salt: usize) -> Vec<f32> {
    let value = |i: usize| ((i * i) as f32 * 0.37 + (i + 7 * salt) as f32 * 1.3).sin();
    (0..count).map(value).collect()
}

/// The result, and the gradient of its weighted sum by every input. Inputs and result are flat.
fn run_on(
    device: &Device,
    sizes: &[usize],
    run: impl Fn(&[Tensor<1>]) -> Tensor<1>,
) -> [Vec<Vec<f32>>; 2] {
    let input = |device: &Device, i: usize| {
        let data = TensorData::new(noise(sizes[i], i), [sizes[i]]);
        Tensor::<1>::from_data(data, device)
    };
    let plain: Vec<Tensor<1>> = (0..sizes.len()).map(|i| input(device, i)).collect();
    let result = values(run(&plain));
    let recording = device.clone().autodiff();
    let leaves: Vec<Tensor<1>> = (0..sizes.len())
        .map(|i| input(&recording, i).require_grad())
        .collect();
    let mix = noise(result.len(), 90);
    let mix = Tensor::from_data(TensorData::new(mix, [result.len()]), &recording);
    let gradients = (run(&leaves) * mix).sum().backward();
    // What the result does not depend on has none.
    let of = |leaf: &Tensor<1>| leaf.grad(&gradients).map(values).unwrap_or_default();
    [vec![result], leaves.iter().map(of).collect()]
}

/// Compares the CPU and every other device; `sizes` are those of the inputs.
fn assert_same(name: &str, sizes: &[usize], run: impl Fn(&[Tensor<1>]) -> Tensor<1>) {
    let expected = run_on(&Device::flex(), sizes, &run);
    for device in gpus() {
        let got = run_on(&device, sizes, &run);
        for (what, (got, expected)) in ["value", "gradient"].iter().zip(got.iter().zip(&expected)) {
            let largest = |values: &[f32]| values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            let of_all = expected.iter().map(|e| largest(e)).fold(0.0, f32::max);
            for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                assert_eq!(got.len(), expected.len(), "{name}, {what} {i}");
                // A key's bias, which softmax ignores, has a gradient of nothing but rounding: within 2e-7 of the
                // largest of all gradients here.
                let scale = largest(expected).max(1e-2 * of_all);
                let error = worst_difference(got, expected) * largest(expected) / scale;
                assert!(error <= TOLERANCE, "{name}, {what} {i}: off by {error}");
            }
        }
    }
}

#[test]
fn convolution() {
    // Odd and not square, in one part and by images; and so many pixels that sums over them are split.
    for ([b, h, w, c, o], side, relu) in [
        ([2, 13, 9, 5, 7], 1, false),
        ([2, 13, 9, 2, 7], 3, false),
        ([2, 13, 9, 5, 7], 3, true),
        ([2, 13, 9, 5, 7], 5, true),
        ([2, 16, 24, 3, 4], 3, false),
    ] {
        let sizes = [b * h * w * c, side * side * c * o, o];
        assert_same(&format!("conv {side} {relu}"), &sizes, |t| {
            let (x, weight) = (
                t[0].clone().reshape([b, h, w, c]),
                t[1].clone().reshape([side, side, c, o]),
            );
            let parts = (weight, t[2].clone());
            ops::conv(x, parts, Sampling::Same, relu, Arithmetic::F32).flatten(0, 3)
        });
    }
}

#[test]
fn convolution_with_a_stride_and_of_each_channel() {
    let [b, h, w, c, o] = [2, 13, 9, 5, 7];
    for (side, stride, activation) in [
        (1, 2, Activation::None),
        (3, 1, Activation::Gelu),
        (3, 2, Activation::Relu),
        (5, 2, Activation::Gelu),
    ] {
        let name = format!("{side} {stride} {activation:?}");
        let sizes = [b * h * w * c, side * side * c * o, o];
        assert_same(&format!("strided_conv {name}"), &sizes, |t| {
            let (x, weight) = (
                t[0].clone().reshape([b, h, w, c]),
                t[1].clone().reshape([side, side, c, o]),
            );
            ops::strided_conv(x, (weight, t[2].clone()), stride, activation).flatten(0, 3)
        });
        let sizes = [b * h * w * c, side * side * c, c];
        assert_same(&format!("depthwise {name}"), &sizes, |t| {
            let (x, weight) = (
                t[0].clone().reshape([b, h, w, c]),
                t[1].clone().reshape([side, side, c]),
            );
            ops::depthwise(x, (weight, t[2].clone()), stride, activation).flatten(0, 3)
        });
    }
}

#[test]
fn layer_norm_and_gelu() {
    for [rows, c] in [[51, 5], [7, 33]] {
        assert_same("layer_norm", &[3 * rows * c, c, c], |t| {
            let x = t[0].clone().reshape([3, rows, c]);
            ops::layer_norm(x, t[1].clone(), t[2].clone(), 1e-3).flatten(0, 2)
        });
    }
    // To both sides of where the error function is flat.
    assert_same("gelu", &[1001], |t| ops::gelu(t[0].clone() * 6.0));
}

#[test]
fn linear_layers() {
    for [m, k, n] in [[3, 5, 3], [41, 19, 51], [128, 64, 96], [1024, 6, 10]] {
        for activation in [Activation::None, Activation::Relu, Activation::Gelu] {
            assert_same(
                &format!("linear {m} {k} {n} {activation:?}"),
                &[m * k, k * n, n],
                |t| {
                    let (x, weight) = (t[0].clone().reshape([m, k]), t[1].clone().reshape([k, n]));
                    ops::linear(x, weight, t[2].clone(), activation, Arithmetic::F32).flatten(0, 1)
                },
            );
        }
        assert_same("linear_residual", &[m * k, k * n, n, m * n], |t| {
            let (x, weight) = (t[0].clone().reshape([m, k]), t[1].clone().reshape([k, n]));
            let residual = t[3].clone().reshape([m, n]);
            ops::linear_residual(x, weight, t[2].clone(), residual, Arithmetic::F32).flatten(0, 1)
        });
    }
}

#[test]
fn attention_in_windows() {
    // Two images of 5 × 7 tokens, 2 heads of 3 channels; windows that fill the map, do not, and exceed it.
    let [b, h, w, heads, d] = [2, 5, 7, 2, 3];
    let channels = 3 * heads * d;
    for [wh, ww] in [[5, 7], [2, 3], [6, 4]] {
        let sizes = [
            b * h * w * channels,
            channels,
            (2 * wh - 1) * d,
            (2 * ww - 1) * d,
        ];
        assert_same(&format!("window_attention {wh} {ww}"), &sizes, |t| {
            let qkv = t[0].clone().reshape([b, h, w, channels]);
            let (rows, columns) = (
                t[2].clone().reshape([2 * wh - 1, d]),
                t[3].clone().reshape([2 * ww - 1, d]),
            );
            ops::window_attention(qkv, t[1].clone(), rows, columns, Arithmetic::F32).flatten(0, 3)
        });
        let n = wh * ww;
        let sizes = [b * h * w * channels, channels, heads * n * n];
        assert_same(&format!("table_attention {wh} {ww}"), &sizes, |t| {
            let qkv = t[0].clone().reshape([b, h, w, channels]);
            let table = t[2].clone().reshape([heads, n, n]);
            ops::table_attention(qkv, t[1].clone(), table, [wh, ww], Arithmetic::F32).flatten(0, 3)
        });
    }
}

#[test]
fn attention_between_tokens_and_a_map() {
    let [objects, n, c, inner, heads] = [2, 11, 8, 6, 2];
    for (tokens, maps) in [(3, 2), (3, 1), (9, 2)] {
        let small = objects * tokens * inner;
        let (map, position) = (maps * n * c, n * c);
        let weights = [c * inner, inner, c * inner, inner];
        let sizes = [&[small, map, position], weights.as_slice()].concat();
        assert_same(&format!("tokens_to_image {tokens} {maps}"), &sizes, |t| {
            let query = t[0].clone().reshape([objects, tokens, inner]);
            let image = [
                t[1].clone().reshape([maps, n, c]),
                t[2].clone().reshape([1, n, c]),
            ];
            let project = |i: usize| (t[i].clone().reshape([c, inner]), t[i + 1].clone());
            ops::tokens_to_image(query, image, project(3), project(5), heads, Arithmetic::F32)
                .flatten(0, 2)
        });
        let weights = [c * inner, inner, inner * c, c];
        let sizes = [&[small, small, map, position], weights.as_slice()].concat();
        assert_same(&format!("image_to_tokens {tokens} {maps}"), &sizes, |t| {
            let [key, value] = [0, 1].map(|i| t[i].clone().reshape([objects, tokens, inner]));
            let image = [
                t[2].clone().reshape([maps, n, c]),
                t[3].clone().reshape([1, n, c]),
            ];
            let query = (t[4].clone().reshape([c, inner]), t[5].clone());
            let out = (t[6].clone().reshape([inner, c]), t[7].clone());
            ops::image_to_tokens(image, [key, value], query, out, heads, Arithmetic::F32)
                .flatten(0, 2)
        });
    }
}

#[test]
fn attention_to_projected_maps() {
    let [objects, t, n, heads, d] = [3, 4, 13, 2, 5];
    let sizes = [objects * t * heads * d, n * heads * d, n * heads * d];
    assert_same("tokens_to_projected", &sizes, |x| {
        let query = x[0].clone().reshape([objects, t, heads * d]);
        let map = |i: usize| x[i].clone().reshape([1, n, heads * d]);
        ops::tokens_to_projected(query, [map(1), map(2)], heads).flatten(0, 2)
    });
}

#[test]
fn mask_head() {
    let [objects, n, c, c1, c2, masks] = [2, 13, 12, 8, 4, 3];
    let sizes = [
        objects * n * c,
        c * 4 * c1,
        4 * c1,
        c1,
        c1,
        c1 * 4 * c2,
        4 * c2,
        objects * masks * c2,
    ];
    assert_same("mask_head", &sizes, |t| {
        let map = t[0].clone().reshape([objects, n, c]);
        let first = (t[1].clone().reshape([c, 4 * c1]), t[2].clone());
        let norm = (t[3].clone(), t[4].clone(), 1e-6);
        let second = (t[5].clone().reshape([c1, 4 * c2]), t[6].clone());
        let tokens = t[7].clone().reshape([objects, masks, c2]);
        ops::mask_head(map, first, norm, second, tokens, Arithmetic::F32).flatten(0, 2)
    });
}

/// Where the device has it: both operands and the result are rounded to 11 bits, so that a product's error is at most
/// about 3 · 2^-11 of its largest value. Sums are single precision: a thousand terms do not add to it.
#[test]
fn half_precision() {
    let [m, k, n] = [37, 1024, 29];
    let product = |device: &Device, arithmetic| {
        let [x, weight, bias] =
            [(m * k, [m, k]), (k * n, [k, n]), (n, [1, n])].map(|(count, shape)| {
                Tensor::<2>::from_data(TensorData::new(noise(count, n), shape), device)
            });
        let bias = bias.squeeze_dim::<1>(0);
        values(ops::linear(x, weight, bias, Activation::None, arithmetic))
    };
    let [h, w, heads, d] = [5, 7, 2, 8];
    let attention = |device: &Device, arithmetic| {
        let of = |count: usize| TensorData::new(noise(count, d), [count]);
        let tensor = |count: usize| Tensor::<1>::from_data(of(count), device);
        let qkv = tensor(h * w * 3 * heads * d).reshape([1, h, w, 3 * heads * d]);
        let (rows, columns) = (
            tensor((2 * h - 1) * d).reshape([2 * h - 1, d]),
            tensor((2 * w - 1) * d).reshape([2 * w - 1, d]),
        );
        let padding = tensor(3 * heads * d);
        values(ops::window_attention(
            qkv, padding, rows, columns, arithmetic,
        ))
    };
    for device in gpus()
        .iter()
        .filter(|device| device.supports_dtype(DType::F16))
    {
        let pairs = [
            [Arithmetic::F32, Arithmetic::F16].map(|a| product(device, a)),
            [Arithmetic::F32, Arithmetic::F16].map(|a| attention(device, a)),
        ];
        for [exact, half] in pairs {
            let error = worst_difference(&half, &exact);
            assert!((1e-6..1.5e-3).contains(&error), "off by {error}");
        }
    }
}

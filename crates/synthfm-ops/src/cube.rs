//! Operations on GPUs: convolutions and sums over pixels as matrix products of a shape that fills the device.
//!
//! The tensor library's own convolutions compute one output value per thread, and those for the gradient of the weights
//! one weight per thread, which for a few channels and many pixels leaves most of a GPU idle.

use burn::backend::TensorMetadata;
use burn::backend::ops::{ActivationOps, FloatTensorOps};
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::SamOps;
use super::gradients::SamGradients;

/// Values of an unfolded map at most, 1 GiB (little in tests); larger batches are convolved in parts.
const MAX_UNFOLDED: usize = if cfg!(test) { 1 << 12 } else { 1 << 28 };
/// Rows that one part of a sum over rows takes at least, and parts at most.
const MIN_ROWS: usize = 256;
const MAX_PARTS: usize = 128;

type Floats = FloatTensor<CubeBackend>;

/// Each pixel's neighbourhood, row by row, in place of the pixel; 0 outside of the map.
#[cube(launch_unchecked)]
fn unfold_kernel(
    x: &Tensor<f32>,
    out: &mut Tensor<f32>,
    height: usize,
    width: usize,
    channels: usize,
    #[comptime] side: usize,
) {
    let position = ABSOLUTE_POS;
    if position >= out.len() {
        terminate!();
    }
    let channel = position % channels;
    let tap = position / channels;
    let pixel = tap / (side * side);
    let tap = tap % (side * side);
    // One reach further, so that numbers stay positive.
    let reach = side / 2;
    let row = pixel / width % height + tap / side;
    let column = pixel % width + tap % side;
    let inside = row >= reach && row < height + reach && column >= reach && column < width + reach;
    let mut value = 0.0_f32;
    if inside {
        let image = pixel / (width * height);
        let from = (image * height + row - reach) * width + column - reach;
        value = x[from * channels + channel];
    }
    out[position] = value;
}

/// `[B, H, W, C]` -> `[B·H·W, side²·C]`
fn unfold(x: CubeTensor, side: usize) -> CubeTensor {
    let [b, h, w, c] = x.shape().dims();
    if side == 1 {
        return CubeBackend::float_reshape(x, Shape::from([b * h * w, c]));
    }
    let x = into_contiguous(x);
    let shape = Shape::from([b * h * w, side * side * c]);
    let units = shape.num_elements();
    let (client, dtype) = (x.client.clone(), x.dtype);
    assert_eq!(dtype, DType::F32, "the kernel's values");
    let out = empty_device_contiguous_dtype(client.clone(), x.device.clone(), shape, dtype);
    let cube_dim = CubeDim::new(&client, units);
    let cube_count = calculate_cube_count_elemwise(&client, units, cube_dim);
    #[expect(unsafe_code, reason = "a kernel that checks its own indices")]
    // SAFETY: every index is checked against the sizes, which are those of the two tensors, both contiguous.
    unsafe {
        unfold_kernel::launch_unchecked(
            &client,
            cube_count,
            cube_dim,
            x.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            h,
            w,
            c,
            side,
        );
    }
    out
}

/// Applies `run` to as many images at a time as may be unfolded at once.
fn in_parts(
    tensors: &[&Floats],
    values_per_image: usize,
    run: impl Fn(&[Floats]) -> Floats,
) -> Vec<Floats> {
    let images = tensors[0].shape()[0];
    let step = (MAX_UNFOLDED / values_per_image.max(1)).max(1);
    if step >= images {
        let whole: Vec<Floats> = tensors.iter().map(|&t| t.clone()).collect();
        return vec![run(&whole)];
    }
    let part = |first: usize| {
        let last = (first + step).min(images);
        let cut = |t: &&Floats| CubeBackend::float_slice((*t).clone(), &[(first..last).into()]);
        run(&tensors.iter().map(cut).collect::<Vec<_>>())
    };
    (0..images).step_by(step).map(part).collect()
}

/// Convolution with stride 1 and zero padding, without a bias; `weight`: `[side²·C, O]`.
fn convolve(x: &Floats, weight: &Floats, side: usize) -> Floats {
    let [_, h, w, c] = x.shape().dims();
    let o = weight.shape()[1];
    let parts = in_parts(&[x], h * w * side * side * c, |x| {
        let rows = unfold(x[0].clone(), side);
        let images = rows.shape()[0] / (h * w);
        let out = CubeBackend::float_matmul(rows, weight.clone());
        CubeBackend::float_reshape(out, Shape::from([images, h, w, o]))
    });
    joined(parts)
}

/// One after the other along the first axis.
fn joined(mut parts: Vec<Floats>) -> Floats {
    if parts.len() == 1 {
        parts.remove(0)
    } else {
        CubeBackend::float_cat(parts, 0)
    }
}

/// Equal parts into which a sum over `rows` is split, so that enough threads have work.
fn parts_of(rows: usize) -> usize {
    let mut parts = 1;
    while rows.is_multiple_of(2 * parts) && rows / (2 * parts) >= MIN_ROWS && parts < MAX_PARTS {
        parts *= 2;
    }
    parts
}

impl SamGradients for CubeBackend {}

impl SamOps for CubeBackend {
    fn plain_conv(x: Floats, weight: Floats, bias: Floats, relu: bool) -> Floats {
        let [side, _, c, o] = weight.shape().dims();
        let weight = Self::float_reshape(weight, Shape::from([side * side * c, o]));
        let bias = Self::float_reshape(bias, Shape::from([1, 1, 1, o]));
        let out = Self::float_add(convolve(&x, &weight, side), bias);
        if relu { Self::relu(out) } else { out }
    }

    fn plain_conv_input_grad(_: Floats, weight: Floats, grad: Floats) -> Floats {
        let [side, _, c, o] = weight.shape().dims();
        let turned = Self::float_flip(weight, &[0, 1]);
        let turned = Self::float_permute(turned, &[0, 1, 3, 2]);
        let turned = Self::float_reshape(turned, Shape::from([side * side * o, c]));
        convolve(&grad, &turned, side)
    }

    fn plain_conv_param_grad(x: Floats, weight: Floats, grad: Floats) -> Floats {
        let [side, _, c, o] = weight.shape().dims();
        let [_, h, w, _] = x.shape().dims();
        let by_weight = in_parts(&[&x, &grad], h * w * side * side * c, |parts| {
            let rows = unfold(parts[0].clone(), side);
            let count = rows.shape()[0];
            let grad = Self::float_reshape(parts[1].clone(), Shape::from([count, o]));
            Self::transposed_product(rows, grad)
        });
        let by_weight = by_weight.into_iter().reduce(Self::float_add);
        let by_weight = by_weight.expect("there is at least one part");
        let by_weight = Self::float_reshape(by_weight, Shape::from([side * side * c * o]));
        let rows = grad.shape().num_elements() / o;
        let grad = Self::float_reshape(grad, Shape::from([rows, o]));
        Self::float_cat(vec![by_weight, Self::sum_of_rows(grad)], 0)
    }

    fn transposed_product(a: Floats, b: Floats) -> Floats {
        let ([rows, m], [_, n]) = (a.shape().dims(), b.shape().dims());
        let parts = parts_of(rows);
        if parts == 1 {
            return Self::float_matmul(Self::float_transpose(a), b);
        }
        let a = Self::float_reshape(a, Shape::from([parts, rows / parts, m]));
        let b = Self::float_reshape(b, Shape::from([parts, rows / parts, n]));
        let products = Self::float_matmul(Self::float_swap_dims(a, 1, 2), b);
        let sum = Self::float_sum_dim(products, 0);
        Self::float_reshape(sum, Shape::from([m, n]))
    }

    fn sum_of_rows(x: Floats) -> Floats {
        let [rows, n] = x.shape().dims();
        let parts = parts_of(rows);
        let x = Self::float_reshape(x, Shape::from([parts, rows / parts, n]));
        let sums = Self::float_reshape(Self::float_sum_dim(x, 1), Shape::from([parts, n]));
        Self::float_reshape(Self::float_sum_dim(sums, 0), Shape::from([n]))
    }
}

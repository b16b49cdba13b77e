//! Rows by their numbers, see [`SamOps::select_rows`]: composed of the tensor library's own operations, and on the CPU as
//! kernels for both passes.

use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use burn::tensor::Slice;

use super::SamOps;
use super::flex::{tensor, values};
use super::fused::{GradientOf, Recorded};
use crate::kernels::{self, Isa};

/// See [`SamOps::select_rows`].
pub(super) fn composed<B: SamOps>(x: &FloatTensor<B>, of: &[usize]) -> FloatTensor<B> {
    let n = x.shape()[1];
    let row = |&row: &usize| {
        let slices: [Slice; 2] = [(row..row + 1).into(), (0..n).into()];
        B::float_slice(x.clone(), &slices)
    };
    B::float_cat(of.iter().map(row).collect(), 0)
}

/// The operation on the CPU, without a record.
pub(super) fn run(x: &FloatTensor<Flex>, of: &[usize]) -> FloatTensor<Flex> {
    let x = x.to_contiguous();
    let n = x.shape()[1];
    let out = kernels::select_rows(Isa::best(), values(&x), n, of);
    tensor(out, [of.len(), n])
}

/// The operation on the CPU, with its gradient.
pub(super) fn recorded(x: &FloatTensor<Flex>, of: Vec<usize>) -> Recorded<Flex> {
    let [rows, n] = x.shape().dims();
    let out = run(x, &of);
    let gradient = GradientOf::new(move |grad: FloatTensor<Flex>| {
        let grad = grad.to_contiguous();
        let by_x = kernels::select_rows_grad(Isa::best(), values(&grad), n, &of, rows);
        vec![tensor::<2>(by_x, [rows, n])]
    });
    (out, gradient)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int, Tensor, TensorData};

    use super::super::select_rows as fused;

    #[test]
    fn rows_and_gradients_equal_the_librarys() {
        let device = Device::flex().autodiff();
        let of = [2, 0, 2, 2];
        let tensor = |shape: [usize; 3], salt: usize| {
            let values = (0..shape.iter().product()).map(|i| ((i + salt) * 31 % 17) as f32);
            Tensor::<3>::from_data(
                TensorData::new(values.collect::<Vec<f32>>(), shape),
                &device,
            )
        };
        let weights = tensor([4, 5, 3], 7);
        let run = |select: &dyn Fn(Tensor<3>) -> Tensor<3>| {
            let x = tensor([3, 5, 3], 0).require_grad();
            let out = select(x.clone());
            let gradients = (out.clone() * weights.clone()).sum().backward();
            (
                out.inner().into_data(),
                x.grad(&gradients).unwrap().into_data(),
            )
        };
        let index = of.map(|i| i as i64);
        let index = Tensor::<1, Int>::from_data(TensorData::new(index.to_vec(), [4]), &device);
        let expected = run(&|x| x.select(0, index.clone()));
        assert_eq!(run(&|x| fused(x, &of)), expected);
        // The gradient of a permuted view, as the embedding's is.
        let turned = run(&|x| fused(x.permute([0, 2, 1]), &of).permute([0, 2, 1]));
        assert_eq!(turned, expected);
        // All rows in order are the tensor itself.
        let whole = tensor([3, 5, 3], 0);
        assert_eq!(
            fused(whole.clone(), &[0, 1, 2]).into_data(),
            whole.into_data()
        );
    }
}

// What a backend needs besides `Backend` to train: the gradients of its primitives, as far as they
// are not primitives themselves. docs/backends.md argues them.
#pragma once

#include "promiseg/backend/concept.hpp"

namespace promiseg {

/// What a batch norm in training measured, per channel; its gradient needs it again.
struct BatchMoments {
  TensorView<float, 1> mean;
  TensorView<float, 1> variance;  ///< biased: divided by the number of rows
};

/// The contract of a backend that can train. Unless said otherwise views are contiguous, "+=" adds
/// to what is there, and an empty destination means "not wanted". Gradients have the shape of what
/// they are the gradient of.
template <class B>
concept TrainingBackend = Backend<B> &&
    requires(B& backend, TensorView<const float, 1> vector, TensorView<float, 1> vector_out,
             TensorView<const float, 2> matrix, TensorView<float, 2> matrix_out,
             TensorView<const float, 3> cube, TensorView<float, 3> cube_out,
             TensorView<const float, 4> image, TensorView<float, 4> image_out,
             const BatchMoments& moments, ConvGeometry geometry, float number,
             Activation activation) {
  backend.fill(number, image_out);  // any strides
  // to += scale * from, any strides; an axis of stride 0 of `to` is summed over.
  backend.accumulate(image, number, image_out);
  backend.activate(vector, activation, vector_out);  // in place is allowed
  // The gradient becomes that before the activation; `vector` is what went into it.
  backend.activation_gradient(vector, activation, vector_out);
  // out [B, M, N] += scale * a [B, M, K] x b [B, K, N], any strides; no stride 0 in `out`.
  backend.accumulate_batched_gemm(cube, cube, number, cube_out);
  // weights [O, kernel * kernel * C] += scale * (output gradient x patches of the input)
  backend.conv2d_weight_gradient(image, geometry, image, number, matrix_out);
  // Input, weights, output gradient; input gradient += and weight gradient [kernel, kernel, C] +=.
  backend.depthwise_conv2d_gradient(image, cube, geometry, image, image_out, cube_out);
  // Input, gamma, epsilon, output gradient; input gradient +=, gamma's += and beta's +=.
  backend.layer_norm_gradient(matrix, vector, number, matrix, matrix_out, vector_out, vector_out);
  backend.softmax_gradient(matrix, matrix_out);  // the softmax's output; in place
  // To the first of the largest values under the kernel; input gradient +=.
  backend.max_pool2d_gradient(image, geometry, image, image_out);
  // Mean and variance of every column.
  backend.batch_moments(matrix, moments);
  // out = (in - mean) / sqrt(variance + epsilon) * gamma + beta
  backend.batch_norm(matrix, vector, vector, moments, number, matrix_out);
  // Input, gamma, moments, epsilon, whether the moments are the input's own (they then have a
  // gradient too), output gradient; input gradient +=, gamma's += and beta's +=.
  backend.batch_norm_gradient(matrix, vector, moments, number, bool{}, matrix, matrix_out,
                              vector_out, vector_out);
};

}  // namespace promiseg

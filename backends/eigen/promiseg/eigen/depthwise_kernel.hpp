// The inner loop of depth-wise convolutions.
#pragma once

#include "promiseg/eigen/vector_math.hpp"

namespace promiseg::eigen {

/// One output row of a depth-wise convolution: for every pixel, channels side by side.
struct DepthwiseRow {
  const float* const* rows = nullptr;  ///< [kernel] input rows, null where padding
  const float* weights = nullptr;      ///< [kernel][kernel][channels]
  const float* bias = nullptr;
  const float* residual = nullptr;  ///< [width][channels] or null
  float* out = nullptr;             ///< [width][channels]
  Index channels = 0;
  Index in_width = 0;
  Index out_width = 0;
  ConvGeometry geometry;
  float scale = 1.0F;
  Activation activation = Activation::none;
};

namespace simd {

/// `count` channels of one output pixel, from channel `c` on.
template <int Lanes>
PROMISEG_INLINE void depthwise_pixel(const DepthwiseRow& task, Index x, Index c, Index count) {
  const ConvGeometry& geometry = task.geometry;
  const Index left = x * geometry.stride - geometry.padding;
  Floats<Lanes> sum = {};
  Floats<Lanes> value;
  Floats<Lanes> weight;
  for (Index ky = 0; ky < geometry.kernel; ++ky) {
    if (task.rows[ky] == nullptr) continue;
    for (Index kx = 0; kx < geometry.kernel; ++kx) {
      const Index column = left + kx;
      if (column < 0 || column >= task.in_width) continue;
      fetch<Lanes>(task.rows[ky] + column * task.channels + c, count, value);
      fetch<Lanes>(task.weights + (ky * geometry.kernel + kx) * task.channels + c, count, weight);
      sum += value * weight;
    }
  }
  sum *= task.scale;
  const Index at = x * task.channels + c;
  if (task.bias != nullptr) {
    fetch<Lanes>(task.bias + c, count, value);
    sum += value;
  }
  if (task.residual != nullptr) {
    fetch<Lanes>(task.residual + at, count, value);
    sum += value;
  }
  activate<Lanes>(task.activation, sum);
  put<Lanes>(sum, count, task.out + at);
}

template <int Lanes>
PROMISEG_INLINE void depthwise_row(const DepthwiseRow& task) {
  for (Index x = 0; x < task.out_width; ++x) {
    Index c = 0;
    for (; c + Lanes <= task.channels; c += Lanes) depthwise_pixel<Lanes>(task, x, c, Lanes);
    if (c < task.channels) depthwise_pixel<Lanes>(task, x, c, task.channels - c);
  }
}

}  // namespace simd
}  // namespace promiseg::eigen

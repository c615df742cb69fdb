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

/// `count` channels, from channel `c` on, of `Pixels` output pixels that lie side by side: they
/// share what is loaded of the weights. Only a pixel by itself may reach over the image's edge.
/// Without the activation.
template <int Lanes, int Pixels>
PROMISEG_INLINE void depthwise_pixels(const DepthwiseRow& task, Index x, Index c, Index count) {
  const ConvGeometry& geometry = task.geometry;
  const Index left = x * geometry.stride - geometry.padding;
  const Index step = geometry.stride * task.channels;
  Floats<Lanes> sums[Pixels] = {};
  Floats<Lanes> value;
  Floats<Lanes> weight;
  for (Index ky = 0; ky < geometry.kernel; ++ky) {
    if (task.rows[ky] == nullptr) continue;
    for (Index kx = 0; kx < geometry.kernel; ++kx) {
      const Index column = left + kx;
      if (Pixels == 1 && (column < 0 || column >= task.in_width)) continue;
      const float* from = task.rows[ky] + column * task.channels + c;
      fetch<Lanes>(task.weights + (ky * geometry.kernel + kx) * task.channels + c, count, weight);
      PROMISEG_UNROLL
      for (int i = 0; i < Pixels; ++i) {
        fetch<Lanes>(from + i * step, count, value);
        sums[i] += value * weight;
      }
    }
  }
  PROMISEG_UNROLL
  for (int i = 0; i < Pixels; ++i) {
    const Index at = (x + i) * task.channels + c;
    sums[i] *= task.scale;
    if (task.bias != nullptr) {
      fetch<Lanes>(task.bias + c, count, value);
      sums[i] += value;
    }
    if (task.residual != nullptr) {
      fetch<Lanes>(task.residual + at, count, value);
      sums[i] += value;
    }
    put<Lanes>(sums[i], count, task.out + at);
  }
}

template <int Lanes>
PROMISEG_INLINE void depthwise_row(const DepthwiseRow& task) {
  constexpr int kPixels = 4;
  const ConvGeometry& geometry = task.geometry;
  for (Index x = 0; x < task.out_width;) {
    const Index left = x * geometry.stride - geometry.padding;
    const Index right = left + (kPixels - 1) * geometry.stride + geometry.kernel;
    const bool together = left >= 0 && right <= task.in_width && x + kPixels <= task.out_width;
    for_vectors<Lanes>(
        task.channels, [&](Index c, Index count) __attribute__((always_inline)) {
          if (together) {
            depthwise_pixels<Lanes, kPixels>(task, x, c, count);
          } else {
            depthwise_pixels<Lanes, 1>(task, x, c, count);
          }
        });
    const Index pixels = together ? kPixels : 1;
    if (task.activation != Activation::none) {  // while it is in the first-level cache
      float* out = task.out + x * task.channels;
      for_vectors<Lanes>(
          pixels * task.channels, [&](Index i, Index count) __attribute__((always_inline)) {
            Floats<Lanes> value;
            fetch<Lanes>(out + i, count, value);
            activate<Lanes>(task.activation, value);
            put<Lanes>(value, count, out + i);
          });
    }
    x += pixels;
  }
}

}  // namespace simd
}  // namespace promiseg::eigen

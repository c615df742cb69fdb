// The inner loop of layer norms.
#pragma once

#include <cmath>

#include "promiseg/eigen/vector_math.hpp"

namespace promiseg::eigen {

/// Rows of a matrix to normalise.
struct NormRows {
  const float* in = nullptr;
  float* out = nullptr;
  Index rows = 0;
  Index channels = 0;
  Index in_stride = 0;
  Index out_stride = 0;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  float epsilon = 0;
  Activation activation = Activation::none;
};

namespace simd {

template <int Lanes>
PROMISEG_INLINE void norm_rows(const NormRows& task) {
  const Index whole = task.channels - task.channels % Lanes;
  const Index rest = task.channels - whole;
  const auto count = static_cast<float>(task.channels);
  for (Index row = 0; row < task.rows; ++row) {
    const float* in = task.in + row * task.in_stride;
    float* out = task.out + row * task.out_stride;
    Floats<Lanes> sums = {};
    Floats<Lanes> x;
    for (Index c = 0; c < whole; c += Lanes) {
      load<Lanes>(in + c, x);
      sums += x;
    }
    float mean = horizontal_sum<Lanes>(sums);
    for (Index c = whole; c < task.channels; ++c) mean += in[c];
    mean /= count;
    sums = Floats<Lanes>{};
    for (Index c = 0; c < whole; c += Lanes) {
      load<Lanes>(in + c, x);
      x -= mean;
      sums += x * x;
    }
    float variance = horizontal_sum<Lanes>(sums);
    for (Index c = whole; c < task.channels; ++c) variance += (in[c] - mean) * (in[c] - mean);
    const float inverse = 1.0F / std::sqrt(variance / count + task.epsilon);
    Floats<Lanes> gamma;
    Floats<Lanes> beta;
    for (Index c = 0; c < whole; c += Lanes) {
      load<Lanes>(in + c, x);
      load<Lanes>(task.gamma + c, gamma);
      load<Lanes>(task.beta + c, beta);
      x = (x - mean) * inverse * gamma + beta;
      activate<Lanes>(task.activation, x);
      store<Lanes>(x, out + c);
    }
    if (rest > 0) {
      load_part<Lanes>(in + whole, rest, x);
      load_part<Lanes>(task.gamma + whole, rest, gamma);
      load_part<Lanes>(task.beta + whole, rest, beta);
      x = (x - mean) * inverse * gamma + beta;
      activate<Lanes>(task.activation, x);
      store_part<Lanes>(x, rest, out + whole);
    }
  }
}

}  // namespace simd
}  // namespace promiseg::eigen

// The innermost loops of gradients, in the manner of kernels.hpp: written once, compiled for every
// instruction set.
#pragma once

#include "promiseg/eigen/kernels.hpp"

namespace promiseg::eigen {

/// Rows of a layer norm's gradient.
struct NormGradientRows {
  const float* in = nullptr;        ///< what the norm was given
  const float* gradient = nullptr;  ///< of its output
  float* in_gradient = nullptr;     ///< grows by the gradient of `in`; null: not wanted
  Index rows = 0;
  Index channels = 0;  ///< rows lie behind one another
  const float* gamma = nullptr;
  float epsilon = 0;
  float* gamma_sums = nullptr;  ///< [channels], grows; null: not wanted
  float* beta_sums = nullptr;   ///< [channels], grows; null: not wanted
};

namespace simd {

template <int Lanes>
PROMISEG_INLINE void activate_values(const float* in, Index size, Activation activation,
                                     float* out) {
  for_vectors<Lanes>(
      size, [&](Index i, Index count) __attribute__((always_inline)) {
        Floats<Lanes> x;
        fetch<Lanes>(in + i, count, x);
        activate<Lanes>(activation, x);
        put<Lanes>(x, count, out + i);
      });
}

/// GELU's slope, Phi(x) + x phi(x): GELU itself is x Phi(x), and Phi follows from erf as there.
template <int Lanes>
PROMISEG_INLINE void gelu_slope(Floats<Lanes>& x) {
  constexpr float kInverseRoot2Pi = 0.398942280F;
  Floats<Lanes> density = x * x * -0.5F;
  exp_of_negative<Lanes>(density);
  Floats<Lanes> erf = x;
  erf_of_scaled<Lanes>(erf);
  x = 0.5F + 0.5F * erf + x * density * kInverseRoot2Pi;
}

template <int Lanes>
PROMISEG_INLINE void activation_gradient(const float* in, Index size, Activation activation,
                                         float* gradient) {
  for_vectors<Lanes>(
      size, [&](Index i, Index count) __attribute__((always_inline)) {
        Floats<Lanes> x;
        Floats<Lanes> g;
        fetch<Lanes>(in + i, count, x);
        fetch<Lanes>(gradient + i, count, g);
        if (activation == Activation::gelu) {
          gelu_slope<Lanes>(x);
          g *= x;
        } else if (activation == Activation::relu) {
          g = x > Floats<Lanes>{} ? g : Floats<Lanes>{};
        }
        put<Lanes>(g, count, gradient + i);
      });
}

/// gradient = out * (gradient - sum(out * gradient)) for one row.
template <int Lanes>
PROMISEG_INLINE void softmax_gradient_row(const float* out, Index size, float* gradient) {
  Floats<Lanes> sums = {};
  Floats<Lanes> y;
  Floats<Lanes> g;
  for_vectors<Lanes>(
      size, [&](Index i, Index count) __attribute__((always_inline)) {
        fetch<Lanes>(out + i, count, y);
        fetch<Lanes>(gradient + i, count, g);
        sums += y * g;
      });
  const float projected = horizontal_sum<Lanes>(sums);
  for_vectors<Lanes>(
      size, [&](Index i, Index count) __attribute__((always_inline)) {
        fetch<Lanes>(out + i, count, y);
        fetch<Lanes>(gradient + i, count, g);
        g = y * (g - projected);
        put<Lanes>(g, count, gradient + i);
      });
}

template <int Lanes>
PROMISEG_INLINE void norm_gradient_rows(const NormGradientRows& task) {
  const auto channels = static_cast<float>(task.channels);
  for (Index row = 0; row < task.rows; ++row) {
    const float* in = task.in + row * task.channels;
    const float* gradient = task.gradient + row * task.channels;
    Floats<Lanes> x;
    Floats<Lanes> g;
    Floats<Lanes> gamma;
    Floats<Lanes> other;
    Floats<Lanes> sums = {};
    for_vectors<Lanes>(
        task.channels, [&](Index i, Index count) __attribute__((always_inline)) {
          fetch<Lanes>(in + i, count, x);
          sums += x;
        });
    const float mean = horizontal_sum<Lanes>(sums) / channels;

    sums = Floats<Lanes>{};
    for_vectors<Lanes>(
        task.channels, [&](Index i, Index count) __attribute__((always_inline)) {
          fetch<Lanes>(in + i, count, x);
          x -= mean;
          for (Index lane = count; lane < Lanes; ++lane) x[lane] = 0.0F;  // beyond the last channel
          sums += x * x;
        });
    const float variance = horizontal_sum<Lanes>(sums) / channels;
    const float inverse = 1.0F / std::sqrt(variance + task.epsilon);
    Floats<Lanes> gradient_sums = {};
    Floats<Lanes> projected_sums = {};
    for_vectors<Lanes>(
        task.channels, [&](Index i, Index count) __attribute__((always_inline)) {
          fetch<Lanes>(in + i, count, x);
          fetch<Lanes>(gradient + i, count, g);
          fetch<Lanes>(task.gamma + i, count, gamma);
          x = (x - mean) * inverse;
          gradient_sums += g * gamma;
          projected_sums += g * gamma * x;
          if (task.gamma_sums != nullptr) {
            fetch<Lanes>(task.gamma_sums + i, count, other);
            other += g * x;
            put<Lanes>(other, count, task.gamma_sums + i);
          }
          if (task.beta_sums != nullptr) {
            fetch<Lanes>(task.beta_sums + i, count, other);
            other += g;
            put<Lanes>(other, count, task.beta_sums + i);
          }
        });
    if (task.in_gradient == nullptr) continue;
    const float sum = horizontal_sum<Lanes>(gradient_sums) / channels;
    const float projected = horizontal_sum<Lanes>(projected_sums) / channels;
    float* to = task.in_gradient + row * task.channels;
    for_vectors<Lanes>(
        task.channels, [&](Index i, Index count) __attribute__((always_inline)) {
          fetch<Lanes>(in + i, count, x);
          fetch<Lanes>(gradient + i, count, g);
          fetch<Lanes>(task.gamma + i, count, gamma);
          fetch<Lanes>(to + i, count, other);
          x = (x - mean) * inverse;
          other += inverse * (g * gamma - sum - x * projected);
          put<Lanes>(other, count, to + i);
        });
  }
}

/// to += scale * from
template <int Lanes>
PROMISEG_INLINE void add_scaled(const float* from, Index size, float scale, float* to) {
  for_vectors<Lanes>(
      size, [&](Index i, Index count) __attribute__((always_inline)) {
        Floats<Lanes> x;
        Floats<Lanes> y;
        fetch<Lanes>(from + i, count, x);
        fetch<Lanes>(to + i, count, y);
        y += x * scale;
        put<Lanes>(y, count, to + i);
      });
}

}  // namespace simd

/// The gradient kernels of one instruction set.
struct GradientKernelTable {
  void (*activate)(const float* in, Index size, Activation activation, float* out);
  void (*activation_gradient)(const float* in, Index size, Activation activation, float* gradient);
  void (*softmax_gradient_row)(const float* out, Index size, float* gradient);
  void (*norm_gradient_rows)(const NormGradientRows&);
  void (*add_scaled)(const float* from, Index size, float scale, float* to);
  void (*winograd_spread)(const WinogradSpread&);
};

// Defines, in the namespace of the instruction set, its gradient kernels and their table.
#define PROMISEG_GRADIENT_KERNELS(NAME, TARGET, LANES)                                          \
  namespace NAME {                                                                              \
  TARGET inline void activate(const float* in, Index size, Activation activation, float* out) { \
    simd::activate_values<LANES>(in, size, activation, out);                                    \
  }                                                                                             \
  TARGET inline void activation_gradient(const float* in, Index size, Activation activation,    \
                                         float* gradient) {                                     \
    simd::activation_gradient<LANES>(in, size, activation, gradient);                           \
  }                                                                                             \
  TARGET inline void softmax_gradient_row(const float* out, Index size, float* gradient) {      \
    simd::softmax_gradient_row<LANES>(out, size, gradient);                                     \
  }                                                                                             \
  TARGET inline void norm_gradient_rows(const NormGradientRows& task) {                         \
    simd::norm_gradient_rows<LANES>(task);                                                      \
  }                                                                                             \
  TARGET inline void add_scaled(const float* from, Index size, float scale, float* to) {        \
    simd::add_scaled<LANES>(from, size, scale, to);                                             \
  }                                                                                             \
  TARGET inline void winograd_spread(const WinogradSpread& task) {                              \
    simd::winograd_spread<LANES>(task);                                                         \
  }                                                                                             \
  inline constexpr GradientKernelTable kGradientTable = {                                       \
      activate,           activation_gradient, softmax_gradient_row,                            \
      norm_gradient_rows, add_scaled,          winograd_spread};                                \
  }

PROMISEG_GRADIENT_KERNELS(generic, , 4)
#if PROMISEG_NEON_TARGET
PROMISEG_GRADIENT_KERNELS(neon, , 4)
#endif
#if PROMISEG_X86_TARGETS
PROMISEG_GRADIENT_KERNELS(avx2, PROMISEG_TARGET_AVX2, 8)
PROMISEG_GRADIENT_KERNELS(avx512, PROMISEG_TARGET_AVX512, 16)
#endif
#undef PROMISEG_GRADIENT_KERNELS

/// The gradient kernels for an instruction set; it must be available.
inline const GradientKernelTable& gradient_kernels_for(Isa isa) {
#if PROMISEG_X86_TARGETS
  if (isa == Isa::avx512 || isa == Isa::avx512bf16) return avx512::kGradientTable;
  if (isa == Isa::avx2) return avx2::kGradientTable;
#endif
#if PROMISEG_NEON_TARGET
  if (isa == Isa::neon) return neon::kGradientTable;
#endif
  return generic::kGradientTable;
}

}  // namespace promiseg::eigen

// Vectors of floats of any width through the compilers' vector extension, and the functions on them
// that the models need. The code is written once; kernels.hpp compiles it for each instruction set.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "promiseg/backend/concept.hpp"

// Everything here must be inlined into a function that carries the target attribute. Vectors go by
// reference, so that no calling convention depends on the instruction set.
#define PROMISEG_INLINE __attribute__((always_inline)) inline

// Loops over an array of vectors must be unrolled whatever the optimisation level, or the vectors
// do not stay in registers.
#if defined(__clang__)
#define PROMISEG_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PROMISEG_UNROLL _Pragma("GCC unroll 16")
#endif

namespace promiseg::eigen::simd {

template <int Lanes>
struct Vector {
  using Float __attribute__((vector_size(Lanes * sizeof(float)))) = float;
  using Bits __attribute__((vector_size(Lanes * sizeof(float)))) = std::uint32_t;
};

template <int Lanes>
using Floats = typename Vector<Lanes>::Float;

template <int Lanes>
PROMISEG_INLINE void load(const float* from, Floats<Lanes>& x) {
  std::memcpy(&x, from, sizeof x);
}

template <int Lanes>
PROMISEG_INLINE void store(const Floats<Lanes>& x, float* to) {
  std::memcpy(to, &x, sizeof x);
}

/// Loads `count` values, zeros behind them.
template <int Lanes>
PROMISEG_INLINE void load_part(const float* from, Index count, Floats<Lanes>& x) {
  float padded[Lanes] = {};
  for (Index i = 0; i < count; ++i) padded[i] = from[i];
  load<Lanes>(padded, x);
}

template <int Lanes>
PROMISEG_INLINE void store_part(const Floats<Lanes>& x, Index count, float* to) {
  float padded[Lanes];
  store<Lanes>(x, padded);
  for (Index i = 0; i < count; ++i) to[i] = padded[i];
}

/// Loads a vector of which `count` values exist.
template <int Lanes>
PROMISEG_INLINE void fetch(const float* from, Index count, Floats<Lanes>& x) {
  if (count == Lanes) {
    load<Lanes>(from, x);
  } else {
    load_part<Lanes>(from, count, x);
  }
}

/// Stores a vector of which `count` values exist.
template <int Lanes>
PROMISEG_INLINE void put(const Floats<Lanes>& x, Index count, float* to) {
  if (count == Lanes) {
    store<Lanes>(x, to);
  } else {
    store_part<Lanes>(x, count, to);
  }
}

/// Calls `step(position, count)` for whole vectors, then for what is left.
template <int Lanes, class Step>
PROMISEG_INLINE void for_vectors(Index size, const Step& step) {
  Index i = 0;
  for (; i + Lanes <= size; i += Lanes) step(i, Index{Lanes});
  if (i < size) step(i, size - i);
}

/// x becomes the larger of the two; where x is not a number it stays so.
template <int Lanes>
PROMISEG_INLINE void maximum(const Floats<Lanes>& other, Floats<Lanes>& x) {
  x = other > x ? other : x;
}

/// Moves every value `Step` lanes down; the first ones come in at the end.
template <int Lanes, int Step, int... I>
PROMISEG_INLINE void rotate(const Floats<Lanes>& x, std::integer_sequence<int, I...> /*lanes*/,
                            Floats<Lanes>& rotated) {
  rotated = __builtin_shufflevector(x, x, ((I + Step) % Lanes)...);
}

/// Folds a vector upon itself with `combine(other, x)`, half by half; every lane gets the result.
template <int Lanes, int Step = Lanes / 2, class Combine>
PROMISEG_INLINE void fold(Floats<Lanes>& x, const Combine& combine) {
  if constexpr (Step > 0) {
    Floats<Lanes> other;
    rotate<Lanes, Step>(x, std::make_integer_sequence<int, Lanes>(), other);
    combine(other, x);
    fold<Lanes, Step / 2>(x, combine);
  }
}

template <int Lanes>
PROMISEG_INLINE float horizontal_sum(const Floats<Lanes>& x) {
  Floats<Lanes> sum = x;
  fold<Lanes>(
      sum, [](const Floats<Lanes>& other, Floats<Lanes>& y)
               __attribute__((always_inline)) { y += other; });
  return sum[0];
}

template <int Lanes>
PROMISEG_INLINE float horizontal_maximum(const Floats<Lanes>& x) {
  Floats<Lanes> largest = x;
  fold<Lanes>(
      largest, [](const Floats<Lanes>& other, Floats<Lanes>& y)
                   __attribute__((always_inline)) { maximum<Lanes>(other, y); });
  return largest[0];
}

/// Lanes from `count` on become `value`.
template <int Lanes>
PROMISEG_INLINE void set_rest(Index count, float value, Floats<Lanes>& x) {
  typename Vector<Lanes>::Bits lane;
  for (int i = 0; i < Lanes; ++i) lane[i] = static_cast<std::uint32_t>(i);
  const Floats<Lanes> rest = Floats<Lanes>{} + value;
  x = lane < static_cast<std::uint32_t>(count) ? x : rest;
}

inline constexpr float kLog2E = 1.44269504F;

/// Added to a small number it rounds it to a whole one, which then sits in the low bits.
inline constexpr float kRound = 12582912.0F;  // 1.5 * 2^23

/// x becomes x * 2^n, where `shifted` is n + kRound.
template <int Lanes>
PROMISEG_INLINE void scale_by_power(const Floats<Lanes>& shifted, Floats<Lanes>& x) {
  typename Vector<Lanes>::Bits bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + (127U << 23);  // it may wrap
  Floats<Lanes> power;
  std::memcpy(&power, &bits, sizeof power);
  x *= power;
}

/// x becomes e^x, for x <= 0 (a softmax's shifted scores); below -87 the result is about 1e-38.
/// e^x = 2^n e^r with |r| <= ln 2 / 2, and seven terms of the series: relative error under 3e-7.
template <int Lanes>
PROMISEG_INLINE void exp_of_negative(Floats<Lanes>& x) {
  constexpr float kLn2High = 0.693359375F;
  constexpr float kLn2Low = -2.12194440e-4F;
  const Floats<Lanes> lowest = Floats<Lanes>{} - 87.0F;
  maximum<Lanes>(lowest, x);
  const Floats<Lanes> shifted = x * kLog2E + kRound;
  const Floats<Lanes> n = shifted - kRound;
  const Floats<Lanes> r = x - n * kLn2High - n * kLn2Low;
  Floats<Lanes> p = r * (1.0F / 5040) + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  scale_by_power<Lanes>(shifted, p);
  x = p;
}

/// x becomes 2^x, for x <= 0; below -126 the result is about 1e-38. 2^x = 2^n 2^r with |r| <= 1/2
/// and a polynomial of `Degree` 6 or 4, fitted to the relative error: 1.0e-7 or 2.9e-6 of the
/// result.
template <int Lanes, int Degree>
PROMISEG_INLINE void exp2_of_negative(Floats<Lanes>& x) {
  static_assert(Degree == 4 || Degree == 6);
  const Floats<Lanes> lowest = Floats<Lanes>{} - 126.0F;
  maximum<Lanes>(lowest, x);
  const Floats<Lanes> shifted = x + kRound;
  const Floats<Lanes> r = x - (shifted - kRound);
  Floats<Lanes> p;
  if constexpr (Degree == 6) {
    p = r * 1.535336050e-04F + 1.339887502e-03F;
    p = p * r + 9.618436918e-03F;
    p = p * r + 5.550332367e-02F;
    p = p * r + 2.402264774e-01F;
    p = p * r + 6.931471825e-01F;
  } else {
    p = r * 9.582851082e-03F + 5.590642616e-02F;
    p = p * r + 2.402409911e-01F;
    p = p * r + 6.931241751e-01F;
  }
  p = p * r + 1.0F;
  scale_by_power<Lanes>(shifted, p);
  x = p;
}

/// x becomes erf(x / sqrt 2): an odd rational function fitted on |x / sqrt 2| <= 3.9, where erf is
/// 1 within 4e-8; the absolute error is under 5e-7.
template <int Lanes>
PROMISEG_INLINE void erf_of_scaled(Floats<Lanes>& x) {
  constexpr float kBound = 3.9F;
  const Floats<Lanes> upper = Floats<Lanes>{} + kBound;
  Floats<Lanes> y = x * 0.707106781F;
  y = y < upper ? y : upper;
  maximum<Lanes>(-upper, y);
  const Floats<Lanes> t = y * y;
  Floats<Lanes> p = t * 2.0118633870e-08F + -1.9969309051e-06F;
  p = p * t + 1.4747643940e-04F;
  p = p * t + 3.8963363040e-03F;
  p = p * t + 5.1149062812e-02F;
  p = p * t + 2.0422621071e-01F;
  p = p * t + 1.1283787489e+00F;
  Floats<Lanes> q = t * 1.0066176765e-03F + 1.4730598778e-02F;
  q = q * t + 1.1678604782e-01F;
  q = q * t + 5.1431977749e-01F;
  q = q * t + 1.0F;
  x = y * p / q;
}

/// x becomes x / 2 * (1 + erf(x / sqrt 2)).
template <int Lanes>
PROMISEG_INLINE void gelu(Floats<Lanes>& x) {
  Floats<Lanes> erf = x;
  erf_of_scaled<Lanes>(erf);
  x = 0.5F * x * (1.0F + erf);
}

template <int Lanes>
PROMISEG_INLINE void activate(Activation activation, Floats<Lanes>& x) {
  if (activation == Activation::gelu) {
    gelu<Lanes>(x);
  } else if (activation == Activation::relu) {
    maximum<Lanes>(Floats<Lanes>{}, x);
  }
}

}  // namespace promiseg::eigen::simd

// How numbers lie in packed operands of matrix products: in words of four bytes along the depth,
// each one float32 value or two bfloat16 values. So one kernel serves both precisions.
#pragma once

#include <cstdint>
#include <cstring>

#include "promiseg/core/precision.hpp"
#include "promiseg/eigen/isa.hpp"
#include "promiseg/eigen/vector_math.hpp"

namespace promiseg::eigen {

/// Words of the longest part of a packed row.
inline constexpr Index kRowWords = 384;

/// From one packed row to the next. A constant, so that the kernel addresses all rows of a tile
/// from one register; not a power of two, so that they do not share the cache's sets.
inline constexpr Index kRowStride = kRowWords + 16;

namespace simd {

// A kind of word says how many values it holds, how vectors of them are made, and what multiplying
// is. `pack` makes `Lanes` words of consecutive values along the depth: of one vector where a word
// holds one value, of two where it holds two. `interleave` makes words of values that lie behind
// one another in depth but in two rows of memory.

/// One float32 value.
struct Float32Words {
  static constexpr Precision kPrecision = Precision::fp32;
  static constexpr int kValues = 1;

  template <int Lanes>
  PROMISEG_INLINE static void add_product(const float& a, const Floats<Lanes>& b,
                                          Floats<Lanes>& sum) {
    sum += a * b;
  }
};

/// Two bfloat16 values, the first in the low half, with instructions that everything has: a half is
/// a float32 whose lower bits are missing.
struct Bfloat16Words {
  static constexpr Precision kPrecision = Precision::bf16;
  static constexpr int kValues = 2;

  template <int Lanes>
  using Bits = typename Vector<Lanes>::Bits;

  template <int Lanes>
  PROMISEG_INLINE static void halves(const Bits<Lanes>& words, Floats<Lanes>& low,
                                     Floats<Lanes>& high) {
    const Bits<Lanes> low_bits = words << 16;
    const Bits<Lanes> high_bits = words & 0xFFFF0000U;
    std::memcpy(&low, &low_bits, sizeof low);
    std::memcpy(&high, &high_bits, sizeof high);
  }

  template <int Lanes>
  PROMISEG_INLINE static void add_product(const float& a, const Floats<Lanes>& b,
                                          Floats<Lanes>& sum) {
    std::uint32_t word;
    std::memcpy(&word, &a, sizeof word);
    Bits<Lanes> b_words;
    std::memcpy(&b_words, &b, sizeof b_words);
    Floats<Lanes> a_low;
    Floats<Lanes> a_high;
    Floats<Lanes> b_low;
    Floats<Lanes> b_high;
    halves<Lanes>(Bits<Lanes>{} + word, a_low, a_high);
    halves<Lanes>(b_words, b_low, b_high);
    sum += a_low * b_low;
    sum += a_high * b_high;
  }

  /// The nearest bfloat16, ties to even, in the upper half; what is not a number stays so.
  template <int Lanes>
  PROMISEG_INLINE static void round(const Floats<Lanes>& x, Bits<Lanes>& rounded) {
    Bits<Lanes> bits;
    std::memcpy(&bits, &x, sizeof bits);
    const Bits<Lanes> nearest = bits + 0x7FFFU + ((bits >> 16) & 1U);
    rounded = x == x ? nearest : bits | 0x400000U;
  }

  /// Words of the values of two rows: word i holds low[i] and high[i].
  template <int Lanes>
  PROMISEG_INLINE static void interleave(const Floats<Lanes>& low, const Floats<Lanes>& high,
                                         Floats<Lanes>& words) {
    Bits<Lanes> low_bits;
    Bits<Lanes> high_bits;
    round<Lanes>(low, low_bits);
    round<Lanes>(high, high_bits);
    const Bits<Lanes> both = (low_bits >> 16) | (high_bits & 0xFFFF0000U);
    std::memcpy(&words, &both, sizeof words);
  }

  /// Words of two vectors that lie behind one another.
  template <int Lanes>
  PROMISEG_INLINE static void pack(const Floats<Lanes>& first, const Floats<Lanes>& second,
                                   Floats<Lanes>& words) {
    Floats<Lanes> even = {};
    Floats<Lanes> odd = {};
    for (int i = 0; i < Lanes / 2; ++i) {
      even[i] = first[2 * i];
      odd[i] = first[2 * i + 1];
      even[Lanes / 2 + i] = second[2 * i];
      odd[Lanes / 2 + i] = second[2 * i + 1];
    }
    interleave<Lanes>(even, odd, words);
  }
};

#if PROMISEG_X86_TARGETS
// Clang wants to see that assembly's operands exist; it inlines these functions only after the
// template has been inlined into one of the same target.
#if defined(__clang__)
#define PROMISEG_INLINE_AVX512BF16 PROMISEG_TARGET_AVX512BF16 inline
#else
#define PROMISEG_INLINE_AVX512BF16 PROMISEG_INLINE
#endif

/// The same with the instructions of AVX-512-BF16, which take denormal numbers for zero. Written in
/// assembly, since an intrinsic cannot be inlined into a template that has no target attribute.
struct Bfloat16DotWords : Bfloat16Words {
  template <int Lanes>
  PROMISEG_INLINE_AVX512BF16 static void add_product(const float& a, const Floats<Lanes>& b,
                                                     Floats<Lanes>& sum) {
    std::uint32_t word;
    std::memcpy(&word, &a, sizeof word);
    const Bits<Lanes> pair = Bits<Lanes>{} + word;
    Floats<Lanes> grown = sum;  // a copy, or the sums of a tile would have to lie in memory
    asm("vdpbf16ps {%2, %1, %0|%0, %1, %2}" : "+v"(grown) : "v"(b), "v"(pair));
    sum = grown;
  }

  template <int Lanes>
  PROMISEG_INLINE_AVX512BF16 static void pack(const Floats<Lanes>& first,
                                              const Floats<Lanes>& second, Floats<Lanes>& words) {
    Floats<Lanes> packed;
    asm("vcvtne2ps2bf16 {%1, %2, %0|%0, %2, %1}" : "=v"(packed) : "v"(first), "v"(second));
    words = packed;
  }
};
#endif

/// Packs `count` values that lie behind one another along the depth. An odd last one gets a zero.
template <class Words, int Lanes>
PROMISEG_INLINE void pack_row(const float* from, Index count, float* words) {
  if constexpr (Words::kValues == 1) {
    std::memcpy(words, from, static_cast<std::size_t>(count) * sizeof(float));
  } else {
    Floats<Lanes> first;
    Floats<Lanes> second;
    Floats<Lanes> packed;
    Index i = 0;
    for (; i + 2 * Lanes <= count; i += 2 * Lanes) {
      load<Lanes>(from + i, first);
      load<Lanes>(from + i + Lanes, second);
      Words::template pack<Lanes>(first, second, packed);
      store<Lanes>(packed, words + i / 2);
    }
    if (i == count) return;
    fetch<Lanes>(from + i, count - i < Lanes ? count - i : Lanes, first);
    second = Floats<Lanes>{};
    if (count - i > Lanes) load_part<Lanes>(from + i + Lanes, count - i - Lanes, second);
    Words::template pack<Lanes>(first, second, packed);
    put<Lanes>(packed, (count - i + 1) / 2 < Lanes ? (count - i + 1) / 2 : Lanes, words + i / 2);
  }
}

/// Packs two rows of `count` values each that lie behind one another in depth; `second` may be
/// null, for zeros. Where a word holds one value there is no second row.
template <class Words, int Lanes>
PROMISEG_INLINE void pack_across(const float* first, const float* second, Index count,
                                 float* words) {
  if constexpr (Words::kValues == 1) {
    std::memcpy(words, first, static_cast<std::size_t>(count) * sizeof(float));
  } else {
    for_vectors<Lanes>(
        count, [&](Index i, Index some) __attribute__((always_inline)) {
          Floats<Lanes> low;
          Floats<Lanes> high = {};
          Floats<Lanes> both;
          fetch<Lanes>(first + i, some, low);
          if (second != nullptr) fetch<Lanes>(second + i, some, high);
          Words::template interleave<Lanes>(low, high, both);
          put<Lanes>(both, some, words + i);
        });
  }
}

}  // namespace simd
}  // namespace promiseg::eigen

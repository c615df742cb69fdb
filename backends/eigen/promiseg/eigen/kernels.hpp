// The innermost loops, written once for any vector width and compiled for every instruction set. A
// backend picks one table of them when it is made. docs/kernels.md explains how.
#pragma once

#include "promiseg/eigen/depthwise_kernel.hpp"
#include "promiseg/eigen/gemm_kernel.hpp"
#include "promiseg/eigen/norm_kernel.hpp"
#include "promiseg/eigen/softmax_kernel.hpp"
#include "promiseg/eigen/winograd_kernel.hpp"

namespace promiseg::eigen {

/// What matrix products of one precision are made of.
struct ProductKernels {
  Precision precision;
  Index values_per_word;
  void (*gemm_tile)(const GemmTile&);
  void (*pack_row)(const float* from, Index count, float* words);
  void (*pack_across)(const float* first, const float* second, Index count, float* words);
  void (*score_part)(const ScorePart&);
  void (*winograd_patch)(const WinogradPatch&);

  /// Words that `depth` values take.
  Index words(Index depth) const { return (depth + values_per_word - 1) / values_per_word; }
};

/// The kernels of one instruction set, and the tile its matrix products work on.
struct KernelTable {
  Isa isa;
  Index tile_rows;
  Index tile_columns;
  ProductKernels fp32;
  ProductKernels bf16;
  void (*softmax_row)(float* row, Index count);
  void (*norm_rows)(const NormRows&);
  void (*depthwise_row)(const DepthwiseRow&);
  void (*winograd_pixels)(const WinogradPixels&);

  const ProductKernels& products(Precision precision) const {
    return precision == Precision::fp32 ? fp32 : bf16;
  }
};

// Defines, in the namespace of an instruction set, the kernels of products for one kind of words.
#define PROMISEG_PRODUCT_KERNELS(NAME, TARGET, WORDS, LANES, ROWS, VECTORS)                        \
  namespace NAME {                                                                                 \
  TARGET inline void gemm_tile(const GemmTile& task) {                                             \
    simd::gemm_tile<simd::WORDS, LANES, ROWS, VECTORS>(task);                                      \
  }                                                                                                \
  TARGET inline void pack_row(const float* from, Index count, float* words) {                      \
    simd::pack_row<simd::WORDS, LANES>(from, count, words);                                        \
  }                                                                                                \
  TARGET inline void pack_across(const float* first, const float* second, Index count,             \
                                 float* words) {                                                   \
    simd::pack_across<simd::WORDS, LANES>(first, second, count, words);                            \
  }                                                                                                \
  TARGET inline void score_part(const ScorePart& part) {                                           \
    simd::score_part<simd::WORDS, LANES>(part);                                                    \
  }                                                                                                \
  TARGET inline void winograd_patch(const WinogradPatch& task) {                                   \
    simd::winograd_patch<simd::WORDS, LANES>(task);                                                \
  }                                                                                                \
  inline constexpr ProductKernels kProducts = {                                                    \
      simd::WORDS::kPrecision, simd::WORDS::kValues, gemm_tile, pack_row, pack_across, score_part, \
      winograd_patch};                                                                             \
  }

// Defines, in a namespace of its own, every kernel for one instruction set and their table.
#define PROMISEG_KERNELS(NAME, TARGET, LANES, ROWS, VECTORS)                                       \
  PROMISEG_PRODUCT_KERNELS(NAME::fp32, TARGET, Float32Words, LANES, ROWS, VECTORS)                 \
  PROMISEG_PRODUCT_KERNELS(NAME::bf16, TARGET, Bfloat16Words, LANES, ROWS, VECTORS)                \
  namespace NAME {                                                                                 \
  TARGET inline void softmax_row(float* row, Index count) {                                        \
    simd::softmax_row<LANES>(row, count);                                                          \
  }                                                                                                \
  TARGET inline void norm_rows(const NormRows& task) { simd::norm_rows<LANES>(task); }             \
  TARGET inline void depthwise_row(const DepthwiseRow& task) { simd::depthwise_row<LANES>(task); } \
  TARGET inline void winograd_pixels(const WinogradPixels& task) {                                 \
    simd::winograd_pixels<LANES>(task);                                                            \
  }                                                                                                \
  inline constexpr KernelTable kTable = {                                                          \
      Isa::NAME,   ROWS,      LANES* VECTORS, fp32::kProducts, bf16::kProducts,                    \
      softmax_row, norm_rows, depthwise_row,  winograd_pixels};                                    \
  }

PROMISEG_KERNELS(generic, , 4, 6, 2)
#if PROMISEG_NEON_TARGET
PROMISEG_KERNELS(neon, , 4, 8, 3)
#endif
#if PROMISEG_X86_TARGETS
PROMISEG_KERNELS(avx2, PROMISEG_TARGET_AVX2, 8, 6, 2)
PROMISEG_KERNELS(avx512, PROMISEG_TARGET_AVX512, 16, 12, 2)
PROMISEG_PRODUCT_KERNELS(avx512bf16, PROMISEG_TARGET_AVX512BF16, Bfloat16DotWords, 16, 12, 2)
namespace avx512bf16 {
inline constexpr KernelTable kTable = [] {
  KernelTable table = avx512::kTable;
  table.isa = Isa::avx512bf16;
  table.bf16 = kProducts;
  return table;
}();
}  // namespace avx512bf16
#endif
#undef PROMISEG_KERNELS
#undef PROMISEG_PRODUCT_KERNELS

/// The kernels for an instruction set; it must be available.
inline const KernelTable& kernels_for(Isa isa) {
#if PROMISEG_X86_TARGETS
  if (isa == Isa::avx512bf16) return avx512bf16::kTable;
  if (isa == Isa::avx512) return avx512::kTable;
  if (isa == Isa::avx2) return avx2::kTable;
#endif
#if PROMISEG_NEON_TARGET
  if (isa == Isa::neon) return neon::kTable;
#endif
  return generic::kTable;
}

}  // namespace promiseg::eigen

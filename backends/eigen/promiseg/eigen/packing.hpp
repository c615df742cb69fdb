// Packs views of matrices, of any strides, for the inner loop of products.
#pragma once

#include <algorithm>

#include "promiseg/core/tensor_view.hpp"
#include "promiseg/eigen/kernels.hpp"
#include "promiseg/eigen/scratch.hpp"

namespace promiseg::eigen {

/// `count` values that lie `stride` apart, side by side; `line` has room for them.
inline const float* gather(const float* from, Index stride, Index count, float* line) {
  if (stride == 1) return from;
  for (Index i = 0; i < count; ++i) line[i] = from[i * stride];
  return line;
}

/// The other way: writes `factor` times `count` values to places that lie `stride` apart.
inline void scatter(const float* from, float factor, Index count, float* to, Index stride) {
  if (stride == 1) {  // which the compiler must know to use vectors
    for (Index i = 0; i < count; ++i) to[i] = from[i] * factor;
  } else {
    for (Index i = 0; i < count; ++i) to[i * stride] = from[i] * factor;
  }
}

/// Copies the transpose of a matrix whose columns lie side by side, [columns, depth] in memory, to
/// rows of kRowStride each: a few cache lines of both sides at a time.
inline void copy_transposed(TensorView<const float, 2> matrix, float* rows) {
  constexpr Index kBlock = 16;
  for (Index begin = 0; begin < matrix.extent(1); begin += kBlock) {
    const Index end = std::min(begin + kBlock, matrix.extent(1));
    for (Index i = 0; i < matrix.extent(0); ++i) {
      const float* from = matrix.data() + i;
      for (Index k = begin; k < end; ++k) rows[i * kRowStride + k] = from[k * matrix.stride(1)];
    }
  }
}

/// Packs up to `width` rows of a matrix [rows, depth], those that do not exist as zeros, to
/// [width][kRowStride].
inline void pack_rows(const ProductKernels& kernels, TensorView<const float, 2> matrix, Index width,
                      Scratch& scratch, float* packed) {
  const Index depth = matrix.extent(1);
  const bool lies_across = matrix.stride(0) == 1 && matrix.stride(1) != 1;
  if (lies_across && kernels.precision == Precision::fp32) {
    copy_transposed(matrix, packed);
  } else {
    float* line = matrix.stride(1) == 1 ? nullptr : scratch.take(depth);
    for (Index i = 0; i < matrix.extent(0); ++i) {
      const float* row = matrix.data() + i * matrix.stride(0);
      kernels.pack_row(gather(row, matrix.stride(1), depth, line), depth, packed + i * kRowStride);
    }
  }
  for (Index i = matrix.extent(0); i < width; ++i) {
    std::fill_n(packed + i * kRowStride, kernels.words(depth), 0.0F);
  }
}

/// Words of every column that are turned at a time: few enough for the first-level cache.
inline constexpr Index kTurnedWords = 64;
inline constexpr Index kTurnedStride = kTurnedWords + 16;  // columns do not share the cache's sets

/// Floats that packing a panel takes of scratch memory: to turn columns in, and for a part of one.
inline Index panel_scratch_size(Index width) {
  constexpr Index kMostValuesPerWord = 2;
  return width * kTurnedStride + kTurnedWords * kMostValuesPerWord;
}

/// Packs `columns` vectors of `depth` values, at most `width` of them, into one panel
/// [words][width]; columns that do not exist become zero. `fetch(j, begin, count, line)` returns
/// values [begin, begin + count) of vector j, side by side, and may write them to `line`.
template <class FetchColumn>
void pack_columns(const ProductKernels& kernels, const FetchColumn& fetch, Index columns,
                  Index depth, Index width, Scratch& scratch, float* panel) {
  float* turning = scratch.take(panel_scratch_size(width));
  float* line = turning + width * kTurnedStride;
  const Index step = kTurnedWords * kernels.values_per_word;
  for (Index begin = 0; begin < depth; begin += step) {
    const Index count = std::min(step, depth - begin);
    for (Index j = 0; j < columns; ++j) {
      kernels.pack_row(fetch(j, begin, count, line), count, turning + j * kTurnedStride);
    }
    const Index words = kernels.words(count);
    for (Index k = 0; k < words; ++k, panel += width) {
      for (Index j = 0; j < columns; ++j) panel[j] = turning[j * kTurnedStride + k];
      std::fill(panel + columns, panel + width, 0.0F);
    }
  }
}

/// Packs a matrix [depth, columns] of at most `width` columns into one panel [words][width];
/// columns that do not exist become zero.
inline void pack_panel(const ProductKernels& kernels, TensorView<const float, 2> matrix,
                       Index width, Scratch& scratch, float* panel) {
  const Index depth = matrix.extent(0);
  const Index columns = matrix.extent(1);
  if (matrix.stride(1) == 1) {
    const Index step = kernels.values_per_word;
    for (Index k = 0; k < depth; k += step, panel += width) {
      const float* first = matrix.data() + k * matrix.stride(0);
      kernels.pack_across(first, k + 1 < depth ? first + matrix.stride(0) : nullptr, columns,
                          panel);
      std::fill(panel + columns, panel + width, 0.0F);
    }
    return;
  }
  const auto fetch = [&matrix](Index j, Index begin, Index count, float* line) {
    return gather(&matrix(begin, j), matrix.stride(0), count, line);
  };
  pack_columns(kernels, fetch, columns, depth, width, scratch, panel);
}

}  // namespace promiseg::eigen

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

/// Writes a packed row [words], as one column of a panel [words][width].
inline void put_column(const float* words, Index count, Index width, float* column) {
  for (Index k = 0; k < count; ++k) column[k * width] = words[k];
}

/// Floats that `pack_panel` takes of its scratch memory.
inline Index panel_scratch_size(const ProductKernels& kernels, Index depth) {
  return depth + kernels.words(depth);
}

/// Packs a matrix [depth, columns] of at most `width` columns into one panel [words][width];
/// columns that do not exist become zero.
inline void pack_panel(const ProductKernels& kernels, TensorView<const float, 2> matrix,
                       Index width, Scratch& scratch, float* panel) {
  const Index depth = matrix.extent(0);
  const Index columns = matrix.extent(1);
  const Index words = kernels.words(depth);
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
  float* line = scratch.take(panel_scratch_size(kernels, depth));
  float* packed = line + depth;
  for (Index j = 0; j < columns; ++j) {
    const float* column = matrix.data() + j * matrix.stride(1);
    kernels.pack_row(gather(column, matrix.stride(0), depth, line), depth, packed);
    put_column(packed, words, width, panel + j);
  }
  for (Index k = 0; k < words && columns < width; ++k) {
    std::fill(panel + k * width + columns, panel + (k + 1) * width, 0.0F);
  }
}

}  // namespace promiseg::eigen

// The inner loop of every matrix product.
#pragma once

#include "promiseg/eigen/words.hpp"

namespace promiseg::eigen {

/// One tile of a matrix product, with what happens to it before it is stored.
struct GemmTile {
  const float* a = nullptr;  ///< [tile rows][kRowStride]: packed rows of the left matrix
  const float* b = nullptr;  ///< [depth][tile columns]: a packed panel of the right matrix
  Index depth = 0;           ///< in words, at most kRowWords
  float* c = nullptr;        ///< where the tile begins in the output
  Index c_stride = 0;
  Index rows = 0;  ///< rows and columns that exist; the packed panels are padded
  Index columns = 0;
  float scale = 1.0F;
  bool first = true;  ///< the first part of a long depth; later ones add to what is stored
  bool last = true;   ///< the last part: bias and activation follow
  const float* bias = nullptr;      ///< one per column, or null
  const float* residual = nullptr;  ///< added with the first part, so it may be the output itself
  Index residual_stride = 0;
  Activation activation = Activation::none;
};

namespace simd {

/// C = A B on one tile: Rows x (Vectors * Lanes) sums in registers, one outer product per step.
template <class Words, int Lanes, int Rows, int Vectors>
PROMISEG_INLINE void gemm_tile(const GemmTile& tile) {
  constexpr int kColumns = Lanes * Vectors;
  Floats<Lanes> sums[Rows][Vectors] = {};
  const float* a = tile.a;
  const float* b = tile.b;
  const float* others = tile.first ? tile.residual : tile.c;
  const Index others_stride = tile.first ? tile.residual_stride : tile.c_stride;
  if (others != nullptr && tile.columns == kColumns) {
    // What will be added is fetched while the sums are computed.
    for (Index i = 0; i < tile.rows; ++i) {
      PROMISEG_UNROLL
      for (int j = 0; j < Vectors; ++j) __builtin_prefetch(others + i * others_stride + j * Lanes);
    }
  }
  for (Index k = 0; k < tile.depth; ++k, ++a, b += kColumns) {
    Floats<Lanes> column[Vectors];
    PROMISEG_UNROLL
    for (int j = 0; j < Vectors; ++j) load<Lanes>(b + j * Lanes, column[j]);
    PROMISEG_UNROLL
    for (int i = 0; i < Rows; ++i) {
      PROMISEG_UNROLL
      for (int j = 0; j < Vectors; ++j) {
        Words::template add_product<Lanes>(a[i * kRowStride], column[j], sums[i][j]);
      }
    }
  }
  PROMISEG_UNROLL
  for (int i = 0; i < Rows; ++i) {
    if (i >= tile.rows) break;
    float* c = tile.c + i * tile.c_stride;
    const float* residual =
        tile.residual != nullptr ? tile.residual + i * tile.residual_stride : nullptr;
    PROMISEG_UNROLL
    for (int j = 0; j < Vectors; ++j) {
      const Index at = j * Lanes;
      const Index count = tile.columns - at;
      if (count <= 0) break;
      const Index some = count < Lanes ? count : Lanes;
      Floats<Lanes> value = sums[i][j] * tile.scale;
      Floats<Lanes> other;
      if (!tile.first) {
        fetch<Lanes>(c + at, some, other);
        value += other;
      } else if (residual != nullptr) {
        fetch<Lanes>(residual + at, some, other);
        value += other;
      }
      if (tile.last) {
        if (tile.bias != nullptr) {
          fetch<Lanes>(tile.bias + at, some, other);
          value += other;
        }
        activate<Lanes>(tile.activation, value);
      }
      put<Lanes>(value, some, c + at);
    }
  }
}

}  // namespace simd
}  // namespace promiseg::eigen

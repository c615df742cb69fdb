// Packed rows by packed panels, tile by tile: what every blocked product ends in.
#pragma once

#include <algorithm>

#include "promiseg/eigen/kernels.hpp"

namespace promiseg::eigen {

/// Packed rows of any length, in parts of at most kRowWords: each part [padded rows][kRowStride].
struct PackedRows {
  const float* data = nullptr;
  Index padded = 0;  ///< rows, up to whole tiles
};

/// Multiplies packed rows by panels, each [words][tile columns] and `panel_stride` from the next.
/// `whole` says where the result lies, how large it is and what happens to it; its operands and
/// depth are ignored. A sum longer than a part comes back to the result once for every part.
inline void multiply_panels(const KernelTable& table, const ProductKernels& kernels,
                            const PackedRows& rows, Index words, const float* panels,
                            Index panel_stride, const GemmTile& whole) {
  GemmTile tile = whole;
  for (Index begin = 0; begin < words; begin += kRowWords) {
    const float* part = rows.data + begin / kRowWords * rows.padded * kRowStride;
    tile.depth = std::min(kRowWords, words - begin);
    tile.first = whole.first && begin == 0;
    tile.last = whole.last && begin + tile.depth == words;
    for (Index column = 0; column < whole.columns; column += table.tile_columns) {
      tile.b = panels + column / table.tile_columns * panel_stride + begin * table.tile_columns;
      tile.columns = std::min(table.tile_columns, whole.columns - column);
      if (whole.bias != nullptr) tile.bias = whole.bias + column;
      for (Index row = 0; row < whole.rows; row += table.tile_rows) {
        tile.a = part + row * kRowStride;
        tile.c = whole.c + row * whole.c_stride + column;
        if (whole.residual != nullptr) {
          tile.residual = whole.residual + row * whole.residual_stride + column;
        }
        tile.rows = std::min(table.tile_rows, whole.rows - row);
        kernels.gemm_tile(tile);
      }
    }
  }
}

}  // namespace promiseg::eigen

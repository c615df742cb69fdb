// The blocked matrix product by packed weights. Convolutions are the same product with another way
// to fetch the rows of the left matrix.
#pragma once

#include <algorithm>

#include "promiseg/core/thread_pool.hpp"
#include "promiseg/eigen/packed_matrix.hpp"
#include "promiseg/eigen/scratch.hpp"

namespace promiseg::eigen {

/// Where the result goes and what happens to it: rows [M, N] with a row stride each.
struct GemmOutput {
  float* out = nullptr;
  Index stride = 0;
  const float* residual = nullptr;
  Index residual_stride = 0;
  const float* bias = nullptr;
  float scale = 1.0F;
  Activation activation = Activation::none;
};

/// Packs `rows` rows (given by a function that copies part of one row) into [depth][tile rows],
/// with zeros for rows that do not exist.
/// `copy_row(row, begin, count, to)` writes elements [begin, begin + count) of a row to `to`.
template <class CopyRow>
void pack_rows(const CopyRow& copy_row, Index first_row, Index rows, Index begin, Index depth,
               Index tile_rows, float* line, float* packed) {
  for (Index i = 0; i < tile_rows; ++i) {
    if (i < rows) {
      copy_row(first_row + i, begin, depth, line);
      for (Index k = 0; k < depth; ++k) packed[k * tile_rows + i] = line[k];
    } else {
      for (Index k = 0; k < depth; ++k) packed[k * tile_rows + i] = 0.0F;
    }
  }
}

/// out [rows, outputs] = epilogue(in [rows, inputs] x weights^T). The parts of the result depend on
/// the shapes alone, so the sums do not depend on the number of threads.
template <class CopyRow>
void packed_gemm(const KernelTable& kernels, ThreadPool& pool, Scratch* scratch, Index rows,
                 const PackedMatrix& weights, const CopyRow& copy_row, const GemmOutput& output) {
  constexpr Index kDepth = 384;         // of one part of the sum: a panel's part stays in L1
  constexpr Index kTilesPerBlock = 16;  // a block of packed rows stays in L2
  constexpr Index kMinParts = 16;       // enough for many threads, if the matrix is wide enough
  if (rows == 0 || weights.outputs() == 0) return;
  const Index tile_rows = kernels.tile_rows;
  const Index tile_columns = kernels.tile_columns;
  const Index block_rows = tile_rows * kTilesPerBlock;
  const Index row_blocks = (rows + block_rows - 1) / block_rows;
  const Index panels = (weights.outputs() + tile_columns - 1) / tile_columns;
  const Index column_blocks =
      std::clamp<Index>((kMinParts + row_blocks - 1) / row_blocks, 1, panels);
  const Index depth_step = std::min(kDepth, weights.inputs());

  pool.parallel_for(row_blocks * column_blocks, [&](Index part, int thread) {
    const Index row_begin = part / column_blocks * block_rows;
    const Index row_end = std::min(rows, row_begin + block_rows);
    const Index panel_begin = panels * (part % column_blocks) / column_blocks;
    const Index panel_end = panels * (part % column_blocks + 1) / column_blocks;
    float* line = scratch[thread].take(depth_step * (block_rows + 1));
    float* packed = line + depth_step;
    for (Index begin = 0; begin < weights.inputs(); begin += depth_step) {
      const Index depth = std::min(depth_step, weights.inputs() - begin);
      for (Index row = row_begin; row < row_end; row += tile_rows) {
        pack_rows(copy_row, row, std::min(tile_rows, row_end - row), begin, depth, tile_rows, line,
                  packed + (row - row_begin) * depth);
      }
      GemmTile tile;
      tile.depth = depth;
      tile.c_stride = output.stride;
      tile.residual_stride = output.residual_stride;
      tile.scale = output.scale;
      tile.activation = output.activation;
      tile.first = begin == 0;
      tile.last = begin + depth == weights.inputs();
      for (Index panel = panel_begin; panel < panel_end; ++panel) {
        const Index column = panel * tile_columns;
        tile.b = weights.panel(column, begin);
        tile.columns = std::min(tile_columns, weights.outputs() - column);
        tile.bias = output.bias != nullptr ? output.bias + column : nullptr;
        for (Index row = row_begin; row < row_end; row += tile_rows) {
          tile.a = packed + (row - row_begin) * depth;
          tile.c = output.out + row * output.stride + column;
          tile.residual = output.residual != nullptr
                              ? output.residual + row * output.residual_stride + column
                              : nullptr;
          tile.rows = std::min(tile_rows, row_end - row);
          kernels.gemm_tile(tile);
        }
      }
    }
  });
}

}  // namespace promiseg::eigen

// The blocked product of two matrices that both change from call to call: activations by
// activations, and the gradients of weights. Both sides are packed as they are read.
#pragma once

#include <algorithm>

#include "promiseg/core/thread_pool.hpp"
#include "promiseg/eigen/gemm.hpp"
#include "promiseg/eigen/packed_matrix.hpp"
#include "promiseg/eigen/scratch.hpp"

namespace promiseg::eigen {

/// Extents of out [rows, columns] = left [rows, depth] x right [depth, columns].
struct ProductShape {
  Index rows = 0;
  Index columns = 0;
  Index depth = 0;
};

/// How a product is cut into blocks that are computed one by one. Depends on the shape alone, so
/// results do not depend on the number of threads.
struct ProductBlocks {
  static constexpr Index kDepth = 384;  // a block of both sides stays in L2
  static constexpr Index kMaxRows = 192;
  static constexpr Index kMaxColumns = 256;
  static constexpr Index kWantedBlocks = 16;  // enough for many threads

  ProductBlocks(const KernelTable& kernels, const ProductShape& shape)
      : rows(std::min(round_up(shape.rows, kernels.tile_rows),
                      round_up(kMaxRows, kernels.tile_rows))),
        columns(std::min(round_up(shape.columns, kernels.tile_columns), kMaxColumns)) {
    row_blocks = (shape.rows + rows - 1) / rows;
    const Index wanted = std::max<Index>(1, kWantedBlocks / std::max<Index>(1, row_blocks));
    columns =
        std::min(columns, round_up((shape.columns + wanted - 1) / wanted, kernels.tile_columns));
    column_blocks = (shape.columns + columns - 1) / columns;
  }

  Index count() const { return row_blocks * column_blocks; }

  Index rows;
  Index columns;
  Index row_blocks = 0;
  Index column_blocks = 0;
};

/// One block of a product. `pack_left(first, width, begin, depth, to)` writes rows [first, first +
/// width) of the left matrix, at depths [begin, begin + depth), as [depth][width]; `pack_right`
/// does the same with columns of the right one. What lies outside becomes zero.
template <class PackLeft, class PackRight>
void product_block(const KernelTable& kernels, const ProductShape& shape,
                   const ProductBlocks& blocks, Index block, Scratch& scratch,
                   const PackLeft& pack_left, const PackRight& pack_right, bool accumulate,
                   const GemmOutput& output) {
  const Index row_begin = block / blocks.column_blocks * blocks.rows;
  const Index row_end = std::min(shape.rows, row_begin + blocks.rows);
  const Index column_begin = block % blocks.column_blocks * blocks.columns;
  const Index column_end = std::min(shape.columns, column_begin + blocks.columns);
  const Index depth_step = std::min(ProductBlocks::kDepth, shape.depth);
  float* left = scratch.take(depth_step * (blocks.rows + blocks.columns));
  float* right = left + depth_step * blocks.rows;
  for (Index begin = 0; begin < shape.depth; begin += depth_step) {
    const Index depth = std::min(depth_step, shape.depth - begin);
    for (Index row = row_begin; row < row_end; row += kernels.tile_rows) {
      pack_left(row, kernels.tile_rows, begin, depth, left + (row - row_begin) * depth);
    }
    for (Index column = column_begin; column < column_end; column += kernels.tile_columns) {
      pack_right(column, kernels.tile_columns, begin, depth,
                 right + (column - column_begin) * depth);
    }
    GemmTile tile;
    tile.depth = depth;
    tile.c_stride = output.stride;
    tile.scale = output.scale;
    tile.first = begin == 0 && !accumulate;
    for (Index column = column_begin; column < column_end; column += kernels.tile_columns) {
      tile.b = right + (column - column_begin) * depth;
      tile.columns = std::min(kernels.tile_columns, column_end - column);
      for (Index row = row_begin; row < row_end; row += kernels.tile_rows) {
        tile.a = left + (row - row_begin) * depth;
        tile.c = output.out + row * output.stride + column;
        tile.rows = std::min(kernels.tile_rows, row_end - row);
        kernels.gemm_tile(tile);
      }
    }
  }
}

/// Packs rows of a matrix [M, K] of any strides.
inline auto row_packer(TensorView<const float, 2> matrix) {
  return [matrix](Index first, Index width, Index begin, Index depth, float* to) {
    pack_panel(matrix.permuted({1, 0}).slice(0, begin, depth), first, width, to);
  };
}

/// Packs columns of a matrix [K, N] of any strides.
inline auto column_packer(TensorView<const float, 2> matrix) {
  return [matrix](Index first, Index width, Index begin, Index depth, float* to) {
    pack_panel(matrix.slice(0, begin, depth), first, width, to);
  };
}

/// True if rows or columns of every item lie without gaps, as `batched_product` needs it.
inline bool has_unit_axis(const TensorView<float, 3>& view) {
  return view.stride(1) == 1 || view.stride(2) == 1 || view.extent(2) == 1;
}

/// out [B, M, N] = scale * a [B, M, K] x b [B, K, N], or += where `accumulate`. a and b have any
/// strides; `out` has a unit axis.
inline void batched_product(const KernelTable& kernels, ThreadPool& pool, Scratch* scratch,
                            TensorView<const float, 3> a, TensorView<const float, 3> b, float scale,
                            bool accumulate, TensorView<float, 3> out) {
  if (out.stride(2) != 1 && out.extent(2) != 1) {  // then its transpose has rows without gaps
    const auto swap = [](auto view) { return view.permuted({0, 2, 1}); };
    const auto left = swap(b);
    const auto right = swap(a);
    return batched_product(kernels, pool, scratch, left, right, scale, accumulate, swap(out));
  }
  const ProductShape shape{out.extent(1), out.extent(2), a.extent(2)};
  if (out.empty()) return;
  require(shape.depth > 0, ErrorCode::shape_mismatch, "batched_gemm: a product over no elements");
  const ProductBlocks blocks(kernels, shape);
  pool.parallel_for(out.extent(0) * blocks.count(), [&](Index part, int thread) {
    const Index item = part / blocks.count();
    const auto to = out.select(0, item);
    GemmOutput output;
    output.out = to.data();
    output.stride = to.stride(0);
    output.scale = scale;
    product_block(kernels, shape, blocks, part % blocks.count(), scratch[thread],
                  row_packer(a.select(0, item)), column_packer(b.select(0, item)), accumulate,
                  output);
  });
}

}  // namespace promiseg::eigen

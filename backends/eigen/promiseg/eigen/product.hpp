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
  static constexpr Index kMaxRows = 192;  // a block of both sides stays in L2
  static constexpr Index kMaxColumns = 256;
  static constexpr Index kWantedBlocks = 16;  // enough for many threads

  ProductBlocks(const KernelTable& table, const ProductShape& shape)
      : rows(std::min(round_up(shape.rows, table.tile_rows), round_up(kMaxRows, table.tile_rows))),
        columns(std::min(round_up(shape.columns, table.tile_columns),
                         round_up(kMaxColumns, table.tile_columns))),
        panel_width(table.tile_columns) {
    row_blocks = (shape.rows + rows - 1) / rows;
    const Index wanted = std::max<Index>(1, kWantedBlocks / std::max<Index>(1, row_blocks));
    columns =
        std::min(columns, round_up((shape.columns + wanted - 1) / wanted, table.tile_columns));
    column_blocks = (shape.columns + columns - 1) / columns;
  }

  Index count() const { return row_blocks * column_blocks; }

  /// Values of a part of the sum.
  static Index depth_step(const ProductKernels& kernels, const ProductShape& shape) {
    return std::min(kRowWords * kernels.values_per_word, shape.depth);
  }

  /// Words of a block's packed panels.
  Index panels_size(const ProductKernels& kernels, const ProductShape& shape) const {
    return kernels.words(depth_step(kernels, shape)) * columns;
  }

  void reserve_for(const ProductKernels& kernels, const ProductShape& shape, int threads,
                   ThreadScratch* scratch) const {
    reserve(scratch, threads,
            {{&ThreadScratch::line, depth_step(kernels, shape)},
             {&ThreadScratch::turning, panel_scratch_size(panel_width)},
             {&ThreadScratch::rows, rows * kRowStride},
             {&ThreadScratch::panels, panels_size(kernels, shape)}});
  }

  Index rows;
  Index columns;
  Index panel_width;
  Index row_blocks = 0;
  Index column_blocks = 0;
};

/// One block of a product. `left(row, rows, begin, depth)` is a view of some rows of the left
/// matrix [rows, depth]; `pack_right(column, columns, begin, depth, to)` packs columns of the right
/// one into a panel.
template <class Left, class PackRight>
void product_block(const KernelTable& table, const ProductKernels& kernels,
                   const ProductShape& shape, const ProductBlocks& blocks, Index block,
                   ThreadScratch& scratch, const Left& left, const PackRight& pack_right,
                   bool accumulate, const GemmOutput& output) {
  const Index row_begin = block / blocks.column_blocks * blocks.rows;
  const Index row_end = std::min(shape.rows, row_begin + blocks.rows);
  const Index column_begin = block % blocks.column_blocks * blocks.columns;
  const Index column_end = std::min(shape.columns, column_begin + blocks.columns);
  const Index depth_step = ProductBlocks::depth_step(kernels, shape);
  float* rows = scratch.rows.take(blocks.rows * kRowStride);
  float* panels = scratch.panels.take(blocks.panels_size(kernels, shape));
  for (Index begin = 0; begin < shape.depth; begin += depth_step) {
    const Index depth = std::min(depth_step, shape.depth - begin);
    const Index words = kernels.words(depth);
    for (Index row = row_begin; row < row_end; row += table.tile_rows) {
      pack_rows(kernels, left(row, std::min(table.tile_rows, row_end - row), begin, depth),
                table.tile_rows, scratch.line, rows + (row - row_begin) * kRowStride);
    }
    for (Index column = column_begin; column < column_end; column += table.tile_columns) {
      pack_right(column, std::min(table.tile_columns, column_end - column), begin, depth,
                 panels + (column - column_begin) * words);
    }
    GemmTile tile;
    tile.c = output.out + row_begin * output.stride + column_begin;
    tile.c_stride = output.stride;
    tile.rows = row_end - row_begin;
    tile.columns = column_end - column_begin;
    tile.scale = output.scale;
    tile.first = begin == 0 && !accumulate;
    multiply_panels(table, kernels, {rows, blocks.rows}, words, panels, table.tile_columns * words,
                    tile);
  }
}

/// Rows of a matrix [M, K] of any strides, as `product_block` asks for them.
inline auto rows_of(TensorView<const float, 2> matrix) {
  return [matrix](Index row, Index rows, Index begin, Index depth) {
    return matrix.slice(0, row, rows).slice(1, begin, depth);
  };
}

/// True if rows or columns of every item lie without gaps, as `batched_product` needs it.
inline bool has_unit_axis(const TensorView<float, 3>& view) {
  return view.stride(1) == 1 || view.stride(2) == 1 || view.extent(2) == 1;
}

/// out [B, M, N] = scale * a [B, M, K] x b [B, K, N], or += where `accumulate`. a and b have any
/// strides; `out` has a unit axis.
inline void batched_product(const KernelTable& table, const ProductKernels& kernels,
                            ThreadPool& pool, ThreadScratch* scratch, TensorView<const float, 3> a,
                            TensorView<const float, 3> b, float scale, bool accumulate,
                            TensorView<float, 3> out) {
  if (out.stride(2) != 1 && out.extent(2) != 1) {  // then its transpose has rows without gaps
    const auto swap = [](auto view) { return view.permuted({0, 2, 1}); };
    const auto left = swap(b);
    const auto right = swap(a);
    return batched_product(table, kernels, pool, scratch, left, right, scale, accumulate,
                           swap(out));
  }
  const ProductShape shape{out.extent(1), out.extent(2), a.extent(2)};
  if (out.empty()) return;
  require(shape.depth > 0, ErrorCode::shape_mismatch, "batched_gemm: a product over no elements");
  const ProductBlocks blocks(table, shape);
  blocks.reserve_for(kernels, shape, pool.size(), scratch);
  pool.parallel_for(out.extent(0) * blocks.count(), [&](Index part, int thread) {
    const Index item = part / blocks.count();
    const auto to = out.select(0, item);
    GemmOutput output;
    output.out = to.data();
    output.stride = to.stride(0);
    output.scale = scale;
    const auto right = b.select(0, item);
    const auto pack_right = [&](Index column, Index columns, Index begin, Index depth,
                                float* panel) {
      pack_panel(kernels, right.slice(0, begin, depth).slice(1, column, columns),
                 table.tile_columns, scratch[thread].turning, panel);
    };
    product_block(table, kernels, shape, blocks, part % blocks.count(), scratch[thread],
                  rows_of(a.select(0, item)), pack_right, accumulate, output);
  });
}

}  // namespace promiseg::eigen

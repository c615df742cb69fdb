// The blocked matrix product by packed weights. Convolutions are the same product with another way
// to fetch the rows of the left matrix.
#pragma once

#include <algorithm>

#include "promiseg/core/thread_pool.hpp"
#include "promiseg/eigen/multiply_panels.hpp"
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

/// How a product by packed weights is cut up: blocks of rows by blocks of panels, each worked on by
/// one thread. Depends on shapes alone, so the sums do not depend on the number of threads.
struct GemmPlan {
  GemmPlan(const KernelTable& table, const PackedMatrix& weights, Index rows)
      : depth_step(std::min(kRowWords * weights.kernels().values_per_word, weights.inputs())),
        steps((weights.inputs() + depth_step - 1) / depth_step),
        steps_at_once(steps <= kStepsInCache ? steps : 1),
        block_rows(table.tile_rows * kTilesInCache / steps_at_once),
        row_blocks((rows + block_rows - 1) / block_rows),
        panels(weights.panels()),
        column_blocks(std::clamp<Index>((kMinParts + row_blocks - 1) / row_blocks, 1, panels)) {}

  static constexpr Index kTilesInCache = 16;  // of packed rows: they stay in L2
  static constexpr Index kStepsInCache = 2;
  static constexpr Index kMinParts = 16;  // enough for many threads, if the matrix is wide enough

  /// Words of a block's packed rows.
  Index packed_size() const { return steps_at_once * block_rows * kRowStride; }

  Index depth_step;     ///< inputs of one part of a sum
  Index steps;          ///< parts of a sum
  Index steps_at_once;  ///< all, so that an output is finished while it is in the cache, or one
  Index block_rows;
  Index row_blocks;
  Index panels;
  Index column_blocks;
};

/// One block of rows by one block of panels.
template <class FetchRow>
class GemmBlock {
 public:
  GemmBlock(const KernelTable& table, const GemmPlan& plan, const PackedMatrix& weights,
            const FetchRow& fetch_row, const GemmOutput& output, Index rows, Index part)
      : table_(table),
        plan_(plan),
        weights_(weights),
        fetch_row_(fetch_row),
        output_(output),
        row_begin_(part / plan.column_blocks * plan.block_rows),
        row_end_(std::min(rows, row_begin_ + plan.block_rows)),
        panels_(share_of(plan.panels, part % plan.column_blocks, plan.column_blocks)) {}

  void run(ThreadScratch& scratch) const {
    float* line = scratch.line.take(plan_.depth_step);
    float* packed = scratch.rows.take(plan_.packed_size());
    for (Index first = 0; first < plan_.steps; first += plan_.steps_at_once) {
      for (Index i = 0; i < plan_.steps_at_once; ++i) {
        pack(first + i, line, packed + i * plan_.block_rows * kRowStride);
      }
      for (Index panel = panels_.begin; panel < panels_.end; ++panel) {
        multiply(first, panel, packed);
      }
    }
  }

 private:
  Index begin(Index step) const { return step * plan_.depth_step; }
  Index depth(Index step) const {
    return std::min(plan_.depth_step, weights_.inputs() - begin(step));
  }

  void pack(Index step, float* line, float* packed) const {
    const ProductKernels& kernels = weights_.kernels();
    Index row = row_begin_;
    for (; row < row_end_; ++row, packed += kRowStride) {
      kernels.pack_row(fetch_row_(row, begin(step), depth(step), line), depth(step), packed);
    }
    for (; (row - row_begin_) % table_.tile_rows != 0; ++row, packed += kRowStride) {
      std::fill_n(packed, kernels.words(depth(step)), 0.0F);
    }
  }

  /// The steps that are packed, from `first` on, by one panel.
  void multiply(Index first, Index panel, const float* packed) const {
    const ProductKernels& kernels = weights_.kernels();
    const Index column = panel * table_.tile_columns;
    const Index end = std::min(begin(first + plan_.steps_at_once), weights_.inputs());
    GemmTile tile;
    tile.c = output_.out + row_begin_ * output_.stride + column;
    tile.c_stride = output_.stride;
    tile.rows = row_end_ - row_begin_;
    tile.columns = std::min(table_.tile_columns, weights_.outputs() - column);
    tile.scale = output_.scale;
    tile.first = first == 0;
    tile.last = end == weights_.inputs();
    tile.bias = output_.bias != nullptr ? output_.bias + column : nullptr;
    tile.residual = output_.residual != nullptr
                        ? output_.residual + row_begin_ * output_.residual_stride + column
                        : nullptr;
    tile.residual_stride = output_.residual_stride;
    tile.activation = output_.activation;
    multiply_panels(table_, kernels, {packed, plan_.block_rows}, kernels.words(end - begin(first)),
                    weights_.panel(column, begin(first)), 0, tile);  // one panel: no next one
  }

  const KernelTable& table_;
  const GemmPlan& plan_;
  const PackedMatrix& weights_;
  const FetchRow& fetch_row_;
  const GemmOutput& output_;
  Index row_begin_, row_end_;
  IndexRange panels_;
};

/// out [rows, outputs] = epilogue(in [rows, inputs] x weights^T).
/// `fetch_row(row, begin, count, line)` returns elements [begin, begin + count) of a row of the
/// left matrix, side by side; it may write them to `line`.
template <class FetchRow>
void packed_gemm(const KernelTable& table, ThreadPool& pool, ThreadScratch* scratch, Index rows,
                 const PackedMatrix& weights, const FetchRow& fetch_row, const GemmOutput& output) {
  if (rows == 0 || weights.outputs() == 0) return;
  require(weights.inputs() > 0, ErrorCode::shape_mismatch, "gemm: a product over no elements");
  const GemmPlan plan(table, weights, rows);
  reserve(scratch, pool.size(),
          {{&ThreadScratch::line, plan.depth_step}, {&ThreadScratch::rows, plan.packed_size()}});
  pool.parallel_for(plan.row_blocks * plan.column_blocks, [&](Index part, int thread) {
    GemmBlock<FetchRow>(table, plan, weights, fetch_row, output, rows, part).run(scratch[thread]);
  });
}

}  // namespace promiseg::eigen

// Attention over a grid of tokens, a head of a window at a time.
#pragma once

#include <algorithm>
#include <optional>

#include "promiseg/core/thread_pool.hpp"
#include "promiseg/eigen/attention_head.hpp"

namespace promiseg::eigen {

/// The tensors of one call, in the order of the `Backend` concept.
struct GridAttentionTask {
  TensorView<const float, 4> q;  ///< [H, W, heads, d]
  TensorView<const float, 4> k;
  TensorView<const float, 4> v;
  TensorView<float, 4> out;
  const GridAttention* attention = nullptr;
};

/// The vectors of relative positions, packed once for all windows and heads: for every query row
/// (or column) the panels of its vectors [keys, d].
class PackedPositions {
 public:
  PackedPositions(const KernelTable& table, const ProductKernels& kernels,
                  TensorView<const float, 3> vectors, ThreadPool& pool, ThreadScratch* scratch,
                  Scratch& memory)
      : table_(table), kernels_(kernels), keys_(vectors.extent(1)) {
    words_ = kernels.words(vectors.extent(2));
    const Index panels = (keys_ + table.tile_columns - 1) / table.tile_columns;
    stride_ = panels * table.tile_columns * words_;
    data_ = memory.take(vectors.extent(0) * stride_);
    reserve(scratch, pool.size(),
            {{&ThreadScratch::turning, panel_scratch_size(table.tile_columns)}});
    pool.parallel_for(vectors.extent(0), [&](Index i, int thread) {
      for (Index first = 0; first < keys_; first += table.tile_columns) {
        const auto some =
            vectors.select(0, i).slice(0, first, std::min(table.tile_columns, keys_ - first));
        pack_panel(kernels, some.permuted({1, 0}), table.tile_columns, scratch[thread].turning,
                   data_ + i * stride_ + first * words_);
      }
    });
  }

  /// c [rows, keys] = log2(e) * packed rows x vectors of query row (or column) `i`.
  void multiply(Index i, const PackedRows& rows, Index row_count, float* c, Index c_stride) const {
    GemmTile tile;
    tile.c = c;
    tile.c_stride = c_stride;
    tile.rows = row_count;
    tile.columns = keys_;
    tile.scale = simd::kLog2E;
    multiply_panels(table_, kernels_, rows, words_, data_ + i * stride_,
                    table_.tile_columns * words_, tile);
  }

 private:
  const KernelTable& table_;
  const ProductKernels& kernels_;
  Index keys_;
  Index words_ = 0;
  Index stride_ = 0;
  float* data_ = nullptr;
};

/// One head of one window.
class WindowHead {
 public:
  WindowHead(const GridAttentionTask& task, Index window, Index head)
      : task_(task),
        attention_(*task.attention),
        head_(head),
        high_(attention_.window > 0 ? attention_.window : task.q.extent(0)),
        wide_(attention_.window > 0 ? attention_.window : task.q.extent(1)) {
    const Index across = (task.q.extent(1) + wide_ - 1) / wide_;
    row_ = window / across * high_;
    column_ = window % across * wide_;
    rows_ = std::min(high_, task.q.extent(0) - row_);
    columns_ = std::min(wide_, task.q.extent(1) - column_);
  }

  /// Rows of queries in this window that exist.
  Index query_rows() const { return rows_; }

  /// Computes the queries of some of the window's rows. The positions are null where there are
  /// none.
  void run(const KernelTable& table, const ProductKernels& kernels, IndexRange some,
           const PackedPositions* by_row, const PackedPositions* by_column,
           ThreadScratch& scratch) const {
    if (some.size() == 0) return;
    const Index begin = some.begin;
    AttentionHead head(table, kernels,
                       {some.size() * columns_, high_, wide_, task_.q.extent(3), attention_.scale},
                       scratch);
    head.load([&](Index key,
                  float* line) { return vector_of(task_.k, attention_.padding_key, key, line); },
              [&](Index key, float* line) {
                return vector_of(task_.v, attention_.padding_value, key, line);
              });
    ScoreTerms terms;
    if (by_row != nullptr) terms = positions(head, some, *by_row, *by_column, scratch);
    head.run(
        [&](Index query, float* line) {
          return query_of(begin + query / columns_, query % columns_, line);
        },
        terms,
        [&](Index query) -> const float* {
          if (attention_.bias.data() == nullptr) return nullptr;
          return &attention_.bias(head_, (begin + query / columns_) * wide_ + query % columns_, 0);
        },
        [&](Index query, const float* mixed, float factor) {
          const Index y = row_ + begin + query / columns_;
          const Index x = column_ + query % columns_;
          scatter(mixed, factor, task_.out.extent(3), &task_.out(y, x, head_, 0),
                  task_.out.stride(3));
        });
  }

 private:
  /// The vector of one token of the window, from the grid or, outside it, the padding.
  const float* vector_of(const TensorView<const float, 4>& grid,
                         const TensorView<const float, 2>& padding, Index token,
                         float* line) const {
    const Index y = token / wide_;
    const Index x = token % wide_;
    if (y < rows_ && x < columns_) {
      return gather(&grid(row_ + y, column_ + x, head_, 0), grid.stride(3), grid.extent(3), line);
    }
    return gather(&padding(head_, 0), padding.stride(1), padding.extent(1), line);
  }

  const float* query_of(Index y, Index x, float* line) const {
    return gather(&task_.q(row_ + y, column_ + x, head_, 0), task_.q.stride(3), task_.q.extent(3),
                  line);
  }

  /// q . rows[y, ky] and q . columns[x, kx] of all queries, times log2(e).
  ScoreTerms positions(AttentionHead& head, IndexRange some, const PackedPositions& by_row,
                       const PackedPositions& by_column, ThreadScratch& scratch) const {
    float* rows = scratch.by_row.take(some.size() * columns_ * high_);
    float* columns = scratch.by_column.take(some.size() * columns_ * wide_);
    for (Index y = some.begin; y < some.end; ++y) {
      const PackedRows packed =
          head.pack_queries([&](Index x, float* line) { return query_of(y, x, line); }, columns_);
      by_row.multiply(y, packed, columns_, rows + (y - some.begin) * columns_ * high_, high_);
    }
    for (Index x = 0; x < columns_; ++x) {
      const PackedRows packed = head.pack_queries(
          [&](Index y, float* line) { return query_of(some.begin + y, x, line); }, some.size());
      by_column.multiply(x, packed, some.size(), columns + x * wide_, columns_ * wide_);
    }
    return {rows, columns};
  }

  const GridAttentionTask& task_;
  const GridAttention& attention_;
  Index head_, high_, wide_;
  Index row_ = 0, column_ = 0, rows_ = 0, columns_ = 0;
};

/// All windows and heads, shared out over the threads; big windows are split by query rows.
/// `memory` holds the packed positions.
inline void grid_attention(const KernelTable& table, const ProductKernels& kernels,
                           ThreadPool& pool, ThreadScratch* scratch, Scratch (&memory)[2],
                           const GridAttentionTask& task) {
  constexpr Index kMinParts = 24;
  const Index side = task.attention->window;
  const Index windows =
      side > 0 ? ((task.q.extent(0) + side - 1) / side) * ((task.q.extent(1) + side - 1) / side)
               : 1;
  const Index heads = task.q.extent(2);
  if (task.out.empty()) return;
  const Index splits = std::clamp<Index>(kMinParts / (windows * heads), 1, 4);
  std::optional<PackedPositions> by_row;
  std::optional<PackedPositions> by_column;
  if (const RelativePosition& position = task.attention->relative_position;
      position.rows.data() != nullptr) {
    by_row.emplace(table, kernels, position.rows, pool, scratch, memory[0]);
    by_column.emplace(table, kernels, position.columns, pool, scratch, memory[1]);
  }
  const Index high = side > 0 ? side : task.q.extent(0);
  const Index wide = side > 0 ? side : task.q.extent(1);
  AttentionHead::reserve_for(table, kernels, {0, high, wide, task.q.extent(3)},
                             std::max(high, wide), pool.size(), scratch);
  if (by_row.has_value()) {
    const Index queries = std::min(high, (high + splits - 1) / splits) * wide;
    reserve(
        scratch, pool.size(),
        {{&ThreadScratch::by_row, queries * high}, {&ThreadScratch::by_column, queries * wide}});
  }
  pool.parallel_for(windows * heads * splits, [&](Index part, int thread) {
    const WindowHead work(task, part / splits / heads, part / splits % heads);
    work.run(table, kernels, share_of(work.query_rows(), part % splits, splits),
             by_row ? &*by_row : nullptr, by_column ? &*by_column : nullptr, scratch[thread]);
  });
}

/// The tensors of an attention between two sets of tokens.
struct SetAttentionTask {
  TensorView<const float, 4> q;  ///< [B, N, heads, d]
  TensorView<const float, 4> k;  ///< [B, M, heads, d]
  TensorView<const float, 4> v;  ///< [B, M, heads, d]
  TensorView<float, 4> out;      ///< [B, N, heads, d]
  float scale = 1.0F;
};

/// All items and heads, shared out over the threads; many queries are split.
inline void set_attention(const KernelTable& table, const ProductKernels& kernels, ThreadPool& pool,
                          ThreadScratch* scratch, const SetAttentionTask& task) {
  constexpr Index kMinParts = 32;
  constexpr Index kMinQueries = 192;  // of a part: its keys are packed for it alone
  const Index heads = task.q.extent(2);
  const Index queries = task.q.extent(1);
  if (task.out.empty()) return;
  const Index parts = task.q.extent(0) * heads;
  const Index splits = std::clamp<Index>((kMinParts + parts - 1) / parts, 1,
                                         std::max<Index>(1, queries / kMinQueries));
  AttentionHead::reserve_for(table, kernels, {0, 1, task.k.extent(1), task.q.extent(3)}, 0,
                             pool.size(), scratch);
  pool.parallel_for(task.q.extent(0) * heads * splits, [&](Index part, int thread) {
    const Index item = part / splits / heads;
    const Index head_index = part / splits % heads;
    const IndexRange some = share_of(queries, part % splits, splits);
    const auto fetch = [&](const TensorView<const float, 4>& tokens, Index token, float* line) {
      return gather(&tokens(item, token, head_index, 0), tokens.stride(3), tokens.extent(3), line);
    };
    AttentionHead head(table, kernels,
                       {some.size(), 1, task.k.extent(1), task.q.extent(3), task.scale},
                       scratch[thread]);
    head.load([&](Index key, float* line) { return fetch(task.k, key, line); },
              [&](Index key, float* line) { return fetch(task.v, key, line); });
    head.run([&](Index query, float* line) { return fetch(task.q, some.begin + query, line); }, {},
             [](Index) -> const float* { return nullptr; },
             [&](Index query, const float* mixed, float factor) {
               scatter(mixed, factor, task.out.extent(3),
                       &task.out(item, some.begin + query, head_index, 0), task.out.stride(3));
             });
  });
}

}  // namespace promiseg::eigen

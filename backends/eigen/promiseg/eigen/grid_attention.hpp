// Attention over a grid of tokens, a window and a head at a time. Scores exist for a few queries
// only, in the cache.
#pragma once

#include <algorithm>
#include <cstddef>

#include "promiseg/eigen/gemm.hpp"

namespace promiseg::eigen {

/// The tensors of one call, in the order of the `Backend` concept.
struct GridAttentionTask {
  TensorView<const float, 4> q;  ///< [H, W, heads, d]
  TensorView<const float, 4> k;
  TensorView<const float, 4> v;
  TensorView<float, 4> out;
  const GridAttention* attention = nullptr;
};

/// Works through one head of one window. Made for a thread's turn and thrown away.
class WindowHead {
 public:
  WindowHead(const KernelTable& kernels, const GridAttentionTask& task, Index window, Index head)
      : kernels_(kernels),
        task_(task),
        attention_(*task.attention),
        head_(head),
        height_(attention_.window > 0 ? attention_.window : task.q.extent(0)),
        width_(attention_.window > 0 ? attention_.window : task.q.extent(1)),
        keys_(height_ * width_),
        depth_(task.q.extent(3)),
        padded_keys_(round_up(keys_, kernels.tile_columns)),
        padded_depth_(round_up(depth_, kernels.tile_columns)),
        padded_height_(round_up(height_, kernels.tile_columns)),
        padded_width_(round_up(width_, kernels.tile_columns)) {
    const Index across = (task.q.extent(1) + width_ - 1) / width_;
    row_ = window / across * height_;
    column_ = window % across * width_;
    rows_ = std::min(height_, task.q.extent(0) - row_);
    columns_ = std::min(width_, task.q.extent(1) - column_);
  }

  /// Rows of queries in this window that exist.
  Index query_rows() const { return rows_; }

  /// Computes the queries of the window's rows [begin, end).
  void run(Index begin, Index end, Scratch& scratch) {
    take_memory(scratch);
    pack_keys_and_values();
    if (has_position()) position_columns(begin, end);
    for (Index y = begin; y < end; ++y) {
      if (has_position()) position_row(y);
      for (Index x = 0; x < columns_; x += kQueries) {
        attend(y, x, std::min(kQueries, columns_ - x), y - begin);
      }
    }
  }

 private:
  static constexpr Index kQueries = 4 * kMaxTileRows;  // at a time: their scores stay in L2

  bool has_position() const { return attention_.relative_position.rows.data() != nullptr; }

  void take_memory(Scratch& scratch) {
    const Index padded_queries = round_up(kQueries, kernels_.tile_rows);
    const Index longest = std::max({padded_keys_, height_, width_});
    const Index sizes[] = {padded_keys_ * depth_,
                           keys_ * padded_depth_,
                           padded_queries * padded_keys_,
                           kernels_.tile_rows * std::max(longest, depth_) + longest,
                           padded_queries * padded_depth_,
                           kQueries,
                           std::max(padded_height_, padded_width_) * depth_,
                           width_ * height_,
                           height_ * width_ * width_};
    Index total = 0;
    for (Index size : sizes) total += round_up(size, 16);
    float* memory = scratch.take(total);
    float** targets[] = {&packed_keys_,  &packed_values_,   &scores_, &packed_rows_, &mixed_,
                         &inverse_sums_, &packed_position_, &by_row_, &by_column_};
    for (std::size_t i = 0; i < std::size(targets); ++i) {
      *targets[i] = memory;
      memory += round_up(sizes[i], 16);
    }
  }

  /// The vector of one token of the window, from the grid or, outside it, the padding.
  const float* token(const TensorView<const float, 4>& grid,
                     const TensorView<const float, 2>& padding, Index y, Index x,
                     Index& stride) const {
    if (y < rows_ && x < columns_) {
      stride = grid.stride(3);
      return &grid(row_ + y, column_ + x, head_, 0);
    }
    stride = padding.stride(1);
    return &padding(head_, 0);
  }

  void pack_keys_and_values() {
    const Index tile = kernels_.tile_columns;
    for (Index key = 0; key < padded_keys_; ++key) {
      float* to = packed_keys_ + key / tile * tile * depth_ + key % tile;
      if (key >= keys_) {
        for (Index c = 0; c < depth_; ++c) to[c * tile] = 0.0F;
        continue;
      }
      Index stride = 0;
      const float* from =
          token(task_.k, attention_.padding_key, key / width_, key % width_, stride);
      for (Index c = 0; c < depth_; ++c) to[c * tile] = from[c * stride];
    }
    for (Index key = 0; key < keys_; ++key) {
      Index stride = 0;
      const float* from =
          token(task_.v, attention_.padding_value, key / width_, key % width_, stride);
      for (Index c = 0; c < padded_depth_; ++c) {
        float* to = packed_values_ + c / tile * tile * keys_ + key * tile + c % tile;
        *to = c < depth_ ? from[c * stride] : 0.0F;
      }
    }
  }

  /// c [rows, columns] = scale * rows x panels, the rows already packed.
  void multiply(const float* panels, Index depth, Index rows, Index columns, float scale, float* c,
                Index c_stride) const {
    GemmTile tile;
    tile.a = packed_rows_;
    tile.depth = depth;
    tile.rows = rows;
    tile.c_stride = c_stride;
    tile.scale = scale;
    for (Index column = 0; column < columns; column += kernels_.tile_columns) {
      tile.b = panels + column * depth;
      tile.c = c + column;
      tile.columns = std::min(kernels_.tile_columns, columns - column);
      kernels_.gemm_tile(tile);
    }
  }

  /// Packs up to a tile of queries, `step` grid cells apart, starting at (y, x) of the window.
  void pack_queries(Index y, Index x, Index step_y, Index step_x, Index count) {
    const Index tile = kernels_.tile_rows;
    for (Index i = 0; i < tile; ++i) {
      if (i >= count) {
        for (Index c = 0; c < depth_; ++c) packed_rows_[c * tile + i] = 0.0F;
        continue;
      }
      const float* from = &task_.q(row_ + y + i * step_y, column_ + x + i * step_x, head_, 0);
      for (Index c = 0; c < depth_; ++c) packed_rows_[c * tile + i] = from[c * task_.q.stride(3)];
    }
  }

  /// Panels of the position vectors [keys, d] of one query row or column.
  void pack_position(TensorView<const float, 2> vectors) {
    const Index tile = kernels_.tile_columns;
    for (Index first = 0; first < vectors.extent(0); first += tile) {
      pack_panel(vectors.permuted({1, 0}), first, tile, packed_position_ + first * depth_);
    }
  }

  /// q . columns[x, kx] for all queries of the rows [begin, end): by_column [row][x][kx].
  void position_columns(Index begin, Index end) {
    for (Index x = 0; x < columns_; ++x) {
      pack_position(attention_.relative_position.columns.select(0, x));
      for (Index y = begin; y < end; y += kernels_.tile_rows) {
        const Index count = std::min(kernels_.tile_rows, end - y);
        pack_queries(y, x, 1, 0, count);
        multiply(packed_position_, depth_, count, width_, 1.0F,
                 by_column_ + ((y - begin) * width_ + x) * width_, width_ * width_);
      }
    }
  }

  /// q . rows[y, ky] for the queries of row y: by_row [x][ky].
  void position_row(Index y) {
    pack_position(attention_.relative_position.rows.select(0, y));
    for (Index x = 0; x < columns_; x += kernels_.tile_rows) {
      const Index count = std::min(kernels_.tile_rows, columns_ - x);
      pack_queries(y, x, 0, 1, count);
      multiply(packed_position_, depth_, count, height_, 1.0F, by_row_ + x * height_, height_);
    }
  }

  /// `count` queries of row y from column x on.
  void attend(Index y, Index x, Index count, Index turn) {
    const Index tile = kernels_.tile_rows;
    for (Index i = 0; i < count; i += tile) {
      const Index some = std::min(tile, count - i);
      pack_queries(y, x + i, 0, 1, some);
      multiply(packed_keys_, depth_, some, padded_keys_, attention_.scale,
               scores_ + i * padded_keys_, padded_keys_);
    }
    kernels_.softmax_rows(softmax_task(y, x, count, turn));
    for (Index i = 0; i < count; i += tile) {
      const Index some = std::min(tile, count - i);
      const auto copy_row = [&](Index row, Index begin, Index length, float* to) {
        std::copy_n(scores_ + row * padded_keys_ + begin, length, to);
      };
      pack_rows(copy_row, i, some, 0, keys_, tile, packed_rows_ + tile * keys_, packed_rows_);
      multiply(packed_values_, keys_, some, padded_depth_, 1.0F, mixed_ + i * padded_depth_,
               padded_depth_);
    }
    for (Index i = 0; i < count; ++i) {
      for (Index c = 0; c < depth_; ++c) {
        task_.out(row_ + y, column_ + x + i, head_, c) =
            mixed_[i * padded_depth_ + c] * inverse_sums_[i];
      }
    }
  }

  SoftmaxRows softmax_task(Index y, Index x, Index count, Index turn) const {
    SoftmaxRows softmax;
    softmax.scores = scores_;
    softmax.rows = count;
    softmax.stride = padded_keys_;
    softmax.keys_high = height_;
    softmax.keys_wide = width_;
    softmax.inverse_sums = inverse_sums_;
    if (has_position()) {
      softmax.by_row = by_row_ + x * height_;
      softmax.by_column = by_column_ + (turn * width_ + x) * width_;
    }
    if (attention_.bias.data() != nullptr) {
      softmax.bias = &attention_.bias(head_, y * width_ + x, 0);
      softmax.bias_stride = attention_.bias.stride(1);
    }
    return softmax;
  }

  const KernelTable& kernels_;
  const GridAttentionTask& task_;
  const GridAttention& attention_;
  Index head_, height_, width_, keys_, depth_;
  Index padded_keys_, padded_depth_, padded_height_, padded_width_;
  Index row_ = 0, column_ = 0, rows_ = 0, columns_ = 0;

  float* packed_keys_ = nullptr;      // panels [d][tile columns] of keys
  float* packed_values_ = nullptr;    // panels [keys][tile columns] of channels
  float* scores_ = nullptr;           // [queries][padded keys]
  float* packed_rows_ = nullptr;      // one tile of left-hand rows, and a line to copy through
  float* mixed_ = nullptr;            // [queries][padded d]
  float* inverse_sums_ = nullptr;     // [queries]
  float* packed_position_ = nullptr;  // panels of one position table
  float* by_row_ = nullptr;           // [x][ky]
  float* by_column_ = nullptr;        // [row][x][kx]
};

/// All windows and heads, shared out over the threads; big windows are split by query rows.
inline void grid_attention(const KernelTable& kernels, ThreadPool& pool, Scratch* scratch,
                           const GridAttentionTask& task) {
  constexpr Index kMinParts = 48;
  const Index side = task.attention->window;
  const Index windows =
      side > 0 ? ((task.q.extent(0) + side - 1) / side) * ((task.q.extent(1) + side - 1) / side)
               : 1;
  const Index heads = task.q.extent(2);
  const Index splits = std::clamp<Index>(kMinParts / (windows * heads), 1, 4);
  pool.parallel_for(windows * heads * splits, [&](Index part, int thread) {
    const Index split = part % splits;
    WindowHead work(kernels, task, part / splits / heads, part / splits % heads);
    work.run(work.query_rows() * split / splits, work.query_rows() * (split + 1) / splits,
             scratch[thread]);
  });
}

}  // namespace promiseg::eigen

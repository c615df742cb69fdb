// One head of an attention: softmax(scale * q k^T + what is added) v, a few queries and a part of
// the keys at a time, so that scores never leave the cache.
#pragma once

#include <algorithm>
#include <limits>

#include "promiseg/eigen/multiply_panels.hpp"
#include "promiseg/eigen/packing.hpp"

namespace promiseg::eigen {

/// Extents of a head's work.
struct HeadShape {
  Index queries = 0;
  Index keys_high = 1;  ///< keys form a grid
  Index keys_wide = 0;
  Index depth = 0;  ///< channels of queries, keys and values
  float scale = 1.0F;

  Index keys() const { return keys_high * keys_wide; }
};

/// What is added to the scores, times log2(e), from the first query on; null: nothing.
struct ScoreTerms {
  const float* by_row = nullptr;     ///< [queries][keys_high]
  const float* by_column = nullptr;  ///< [queries][keys_wide]
};

/// Works through one head. Made for a thread's turn and thrown away. Queries, keys and values come
/// from functions: `fetch(i, line)` returns the channels of number i side by side, and may write
/// them to `line`.
class AttentionHead {
 public:
  AttentionHead(const KernelTable& table, const ProductKernels& kernels, const HeadShape& shape,
                ThreadScratch& scratch)
      : table_(table),
        kernels_(kernels),
        shape_(shape),
        scratch_(scratch),
        key_words_(kernels.words(shape.depth)),
        value_words_(kernels.words(shape.keys())),
        padded_depth_(round_up(shape.depth, table.tile_columns)),
        panels_(scratch.panels.take(round_up(shape.keys(), table.tile_columns) * key_words_)),
        values_(scratch.values.take(padded_depth_ * value_words_)),
        line_(scratch.line.take(2 * shape.depth)) {}

  /// Makes room for every thread, for heads with these keys whose queries are packed at most so
  /// many at once; `run` packs 48.
  static void reserve_for(const KernelTable& table, const ProductKernels& kernels,
                          const HeadShape& shape, Index packed_queries, int threads,
                          ThreadScratch* scratch) {
    const Index padded_depth = round_up(shape.depth, table.tile_columns);
    const Index rows = round_up(std::max(kQueries, packed_queries), table.tile_rows);
    reserve(scratch, threads,
            {{&ThreadScratch::panels,
              round_up(shape.keys(), table.tile_columns) * kernels.words(shape.depth)},
             {&ThreadScratch::values, padded_depth * kernels.words(shape.keys())},
             {&ThreadScratch::line, 2 * shape.depth},
             {&ThreadScratch::turning, panel_scratch_size(table.tile_columns)},
             {&ThreadScratch::rows, row_parts(kernels, shape) * rows * kRowStride},
             {&ThreadScratch::scores, kQueries * kRowStride},
             {&ThreadScratch::mixed, kQueries * padded_depth}});
  }

  /// Packs all keys and values.
  template <class FetchKey, class FetchValue>
  void load(const FetchKey& fetch_key, const FetchValue& fetch_value) {
    const Index tile = table_.tile_columns;
    for (Index first = 0; first < shape_.keys(); first += tile) {
      const auto fetch = [&](Index j, Index begin, Index /*count*/, float* /*line*/) {
        return fetch_key(first + j, line_) + begin;
      };
      pack_columns(kernels_, fetch, std::min(tile, shape_.keys() - first), shape_.depth, tile,
                   scratch_.turning, panels_ + first * key_words_);
    }
    const Index step = kernels_.values_per_word;
    for (Index key = 0; key < shape_.keys(); key += step) {
      const float* first = fetch_value(key, line_);
      const float* second = nullptr;
      if (step > 1 && key + 1 < shape_.keys()) second = fetch_value(key + 1, line_ + shape_.depth);
      for (Index c = 0; c < shape_.depth; c += tile) {
        const Index count = std::min(tile, shape_.depth - c);
        float* to = values_ + c * value_words_ + key / step * tile;
        kernels_.pack_across(first + c, second != nullptr ? second + c : nullptr, count, to);
        std::fill(to + count, to + tile, 0.0F);
      }
    }
  }

  /// Packs `count` queries, and zeros up to whole tiles; valid until queries are packed again.
  template <class FetchQuery>
  PackedRows pack_queries(const FetchQuery& fetch_query, Index count) {
    const Index padded = round_up(count, table_.tile_rows);
    const Index parts = row_parts(kernels_, shape_);
    const Index step = kRowWords * kernels_.values_per_word;
    float* rows = scratch_.rows.take(parts * padded * kRowStride);
    for (Index i = 0; i < padded; ++i) {
      const float* query = i < count ? fetch_query(i, line_) : nullptr;
      for (Index part = 0; part < parts; ++part) {
        float* to = rows + (part * padded + i) * kRowStride;
        const Index channels = std::min(step, shape_.depth - part * step);
        if (query != nullptr) {
          kernels_.pack_row(query + part * step, channels, to);
        } else {
          std::fill_n(to, kernels_.words(channels), 0.0F);
        }
      }
    }
    return {rows, padded};
  }

  /// Attends with all queries. `bias(query)` points to what is added to a query's scores, one value
  /// a key, or is null. `store(query, mixed, factor)` gets a query's result, `factor` times
  /// `mixed`.
  template <class FetchQuery, class Bias, class Store>
  void run(const FetchQuery& fetch_query, const ScoreTerms& terms, const Bias& bias,
           const Store& store) {
    float* scores = scratch_.scores.take(kQueries * kRowStride);
    float* mixed = scratch_.mixed.take(kQueries * padded_depth_);
    float statistics[3][kQueries];
    const float* biases[kQueries];
    for (Index query = 0; query < shape_.queries; query += kQueries) {
      ScorePart part;
      part.scores = scores;
      part.rows = std::min(kQueries, shape_.queries - query);
      part.keys_high = shape_.keys_high;
      part.keys_wide = shape_.keys_wide;
      part.by_row = terms.by_row != nullptr ? terms.by_row + query * shape_.keys_high : nullptr;
      part.by_column =
          terms.by_column != nullptr ? terms.by_column + query * shape_.keys_wide : nullptr;
      part.biases = biases;
      part.largest = statistics[0];
      part.sums = statistics[1];
      part.rescale = statistics[2];
      for (Index i = 0; i < part.rows; ++i) {
        biases[i] = bias(query + i);
        part.largest[i] = simd::kLowestScore;
        part.sums[i] = 0.0F;
      }
      const PackedRows rows = pack_queries(
          [&](Index i, float* line) { return fetch_query(query + i, line); }, part.rows);
      for (part.first_key = 0; part.first_key < shape_.keys(); part.first_key += kRowWords) {
        part.keys = std::min(kRowWords, shape_.keys() - part.first_key);
        score(rows, part);
        kernels_.score_part(part);
        mix(part, mixed);
      }
      for (Index i = 0; i < part.rows; ++i) {
        // Scores that are all minus infinity have no weights.
        const bool none = part.largest[i] == simd::kLowestScore;
        store(query + i, mixed + i * padded_depth_,
              none ? std::numeric_limits<float>::quiet_NaN() : 1.0F / part.sums[i]);
      }
    }
  }

 private:
  static Index row_parts(const ProductKernels& kernels, const HeadShape& shape) {
    return (kernels.words(shape.depth) + kRowWords - 1) / kRowWords;
  }

  static constexpr Index kQueries = 48;  // at a time: whole tiles of rows of every instruction set

  /// scores = log2(e) * scale * q k^T
  void score(const PackedRows& rows, const ScorePart& part) const {
    GemmTile tile;
    tile.c = part.scores;
    tile.c_stride = kRowStride;
    tile.rows = part.rows;
    tile.columns =
        round_up(part.keys, table_.tile_columns);  // there is room, and no partial stores
    tile.scale = shape_.scale * simd::kLog2E;
    multiply_panels(table_, kernels_, rows, key_words_, panels_ + part.first_key * key_words_,
                    table_.tile_columns * key_words_, tile);
  }

  /// mixed = mixed * rescale + weights x values
  void mix(const ScorePart& part, float* mixed) const {
    if (part.first_key > 0) {
      for (Index i = 0; i < part.rows; ++i) {
        float* row = mixed + i * padded_depth_;
        for (Index c = 0; c < padded_depth_; ++c) row[c] *= part.rescale[i];
      }
    }
    GemmTile tile;
    tile.c = mixed;
    tile.c_stride = padded_depth_;
    tile.rows = part.rows;
    tile.columns = padded_depth_;
    tile.first = part.first_key == 0;
    multiply_panels(table_, kernels_, {part.scores, kQueries}, kernels_.words(part.keys),
                    values_ + part.first_key / kernels_.values_per_word * table_.tile_columns,
                    table_.tile_columns * value_words_, tile);
  }

  const KernelTable& table_;
  const ProductKernels& kernels_;
  HeadShape shape_;
  ThreadScratch& scratch_;
  Index key_words_, value_words_, padded_depth_;
  float* panels_;  // of keys, each [words of channels][tile columns]
  float* values_;  // panels of channels, each [words of keys][tile columns]
  float* line_;
};

}  // namespace promiseg::eigen

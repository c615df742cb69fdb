// The inner loops of softmax: over whole rows, and over rows of attention scores that come in
// parts.
#pragma once

#include <limits>

#include "promiseg/eigen/words.hpp"

namespace promiseg::eigen {

/// Scores of some queries for some keys, which become weights in place: 2^score, so the scores are
/// to be given times log2(e). A row's weights are relative to the largest score so far; what was
/// summed with earlier parts has to be multiplied by `rescale`.
struct ScorePart {
  /// [rows][kRowStride]: scores, with room up to whole vectors, then packed weights.
  float* scores = nullptr;
  Index rows = 0;
  Index first_key = 0;
  Index keys = 0;
  Index keys_high = 0;                   ///< all keys form a grid of this height
  Index keys_wide = 0;                   ///< and width
  const float* by_row = nullptr;         ///< [rows][keys_high], added per key row, or null
  const float* by_column = nullptr;      ///< [rows][keys_wide], added per key column, or null
  const float* const* biases = nullptr;  ///< [rows]: natural, added per key of all, or null
  float* largest = nullptr;              ///< [rows]: of all scores so far
  float* sums = nullptr;                 ///< [rows]: of all weights so far
  float* rescale = nullptr;              ///< [rows]
};

namespace simd {

inline constexpr float kLowestScore = -3.0e38F;

/// Adds the relative positions to a row of scores, one row of the grid of keys after another.
template <int Lanes>
PROMISEG_INLINE void add_position(const ScorePart& part, Index row, float* scores) {
  const float* by_row = part.by_row + row * part.keys_high;
  const float* by_column = part.by_column + row * part.keys_wide;
  Index y = part.first_key / part.keys_wide;
  Index x = part.first_key % part.keys_wide;
  for (Index done = 0; done < part.keys; ++y, x = 0) {
    const Index left = part.keys - done;
    const Index count = part.keys_wide - x < left ? part.keys_wide - x : left;
    float* line = scores + done;
    Index k = 0;
    for (; k + Lanes <= count; k += Lanes) {
      Floats<Lanes> value;
      Floats<Lanes> other;
      load<Lanes>(line + k, value);
      load<Lanes>(by_column + x + k, other);
      value += other + by_row[y];
      store<Lanes>(value, line + k);
    }
    for (; k < count; ++k) line[k] += by_column[x + k] + by_row[y];
    done += count;
  }
}

/// The same where a row of the grid is shorter than a vector and the part begins with a whole one.
/// What a vector holds of the next row stays as it is, up to `Lanes` scores behind the last too.
template <int Lanes>
PROMISEG_INLINE void add_narrow_position(const ScorePart& part, Index row, float* scores) {
  const float* by_row = part.by_row + row * part.keys_high + part.first_key / part.keys_wide;
  const Floats<Lanes> ones = Floats<Lanes>{} + 1.0F;
  float one[Lanes];
  store<Lanes>(ones, one);
  Floats<Lanes> inside;
  Floats<Lanes> columns;
  load_part<Lanes>(one, part.keys_wide, inside);
  load_part<Lanes>(part.by_column + row * part.keys_wide, part.keys_wide, columns);
  for (Index k = 0; k < part.keys; k += part.keys_wide) {
    Floats<Lanes> value;
    load<Lanes>(scores + k, value);
    value += columns + inside * *by_row++;
    store<Lanes>(value, scores + k);
  }
}

/// Adds what belongs to a row of scores and returns the largest. Scores up to a whole vector become
/// the lowest.
template <int Lanes>
PROMISEG_INLINE float add_terms(const ScorePart& part, Index row, float* scores) {
  if (part.by_row != nullptr) {
    if (part.keys_wide < Lanes && part.first_key % part.keys_wide == 0) {
      add_narrow_position<Lanes>(part, row, scores);
    } else {
      add_position<Lanes>(part, row, scores);
    }
  }
  const float* bias = part.biases[row] != nullptr ? part.biases[row] + part.first_key : nullptr;
  Floats<Lanes> peak = Floats<Lanes>{} + kLowestScore;
  for_vectors<Lanes>(
      part.keys, [&](Index k, Index count) __attribute__((always_inline)) {
        Floats<Lanes> value;
        load<Lanes>(scores + k, value);
        if (bias != nullptr) {
          Floats<Lanes> other;
          fetch<Lanes>(bias + k, count, other);
          value += other * kLog2E;
        }
        if (count < Lanes) set_rest<Lanes>(count, kLowestScore, value);
        if (bias != nullptr || count < Lanes) store<Lanes>(value, scores + k);
        maximum<Lanes>(value, peak);
      });
  return horizontal_maximum<Lanes>(peak);
}

/// Scores become packed weights.
template <class Words, int Lanes>
PROMISEG_INLINE void score_part(const ScorePart& part) {
  const auto power = [](Floats<Lanes> & x) __attribute__((always_inline)) {
    exp2_of_negative<Lanes, Words::kValues == 1 ? 6 : 4>(x);  // no better than words hold
  };
  for (Index row = 0; row < part.rows; ++row) {
    float* scores = part.scores + row * kRowStride;
    const float before = part.largest[row];
    const float here = add_terms<Lanes>(part, row, scores);
    const float largest = here > before ? here : before;
    Floats<Lanes> sum = {};
    const auto weigh = [&](Index k, Floats<Lanes> & values) __attribute__((always_inline)) {
      load<Lanes>(scores + k, values);
      values -= largest;
      power(values);
      sum += values;
    };
    Floats<Lanes> values;
    for (Index k = 0; k < part.keys; k += Words::kValues * Lanes) {
      weigh(k, values);
      if constexpr (Words::kValues == 1) {
        store<Lanes>(values, scores + k);
      } else {  // words are written behind what is read
        Floats<Lanes> second = {};
        if (part.keys - k > Lanes) weigh(k + Lanes, second);
        Floats<Lanes> packed;
        Words::template pack<Lanes>(values, second, packed);
        store<Lanes>(packed, scores + k / 2);
      }
    }
    Floats<Lanes> factor = Floats<Lanes>{} + (before - largest);
    power(factor);
    part.rescale[row] = factor[0];
    part.sums[row] = part.sums[row] * factor[0] + horizontal_sum<Lanes>(sum);
    part.largest[row] = largest;
  }
}

/// A whole row, in place.
template <int Lanes>
PROMISEG_INLINE void softmax_row(float* row, Index size) {
  Floats<Lanes> peak = Floats<Lanes>{} + kLowestScore;
  Floats<Lanes> values;
  for_vectors<Lanes>(
      size, [&](Index i, Index count) __attribute__((always_inline)) {
        fetch<Lanes>(row + i, count, values);
        if (count < Lanes) set_rest<Lanes>(count, kLowestScore, values);
        maximum<Lanes>(values, peak);
      });
  const float largest = horizontal_maximum<Lanes>(peak);
  Floats<Lanes> sum = {};
  for_vectors<Lanes>(
      size, [&](Index i, Index count) __attribute__((always_inline)) {
        fetch<Lanes>(row + i, count, values);
        values -= largest;
        exp_of_negative<Lanes>(values);
        if (count < Lanes) set_rest<Lanes>(count, 0.0F, values);
        sum += values;
        put<Lanes>(values, count, row + i);
      });
  float inverse = 1.0F / horizontal_sum<Lanes>(sum);
  if (largest == kLowestScore) inverse = std::numeric_limits<float>::quiet_NaN();
  for_vectors<Lanes>(
      size, [&](Index i, Index count) __attribute__((always_inline)) {
        fetch<Lanes>(row + i, count, values);
        values *= inverse;
        put<Lanes>(values, count, row + i);
      });
}

}  // namespace simd
}  // namespace promiseg::eigen

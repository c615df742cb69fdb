// Working memory of the backend's own loops, kept from call to call.
#pragma once

#include <cstddef>
#include <initializer_list>

#include "promiseg/core/buffer.hpp"

namespace promiseg::eigen {

/// Room for numbers that grows to the largest size ever asked for.
class Scratch {
 public:
  /// Room for `count` floats, uninitialised; what was taken before is lost.
  float* take(Index count) {
    const std::size_t size = static_cast<std::size_t>(count) * sizeof(float);
    if (size > buffer_.size()) buffer_ = allocate_host(size);
    return static_cast<float*>(buffer_.data());
  }

  std::size_t bytes() const { return buffer_.size(); }

 private:
  Buffer buffer_;
};

/// What one thread works with, by purpose.
struct ThreadScratch {
  Scratch line;       ///< one row on its way into a packed one, or zeros
  Scratch turning;    ///< columns on their way into a panel
  Scratch rows;       ///< packed rows of a left matrix
  Scratch panels;     ///< packed panels of a right matrix
  Scratch values;     ///< packed panels of an attention's values
  Scratch scores;     ///< of some queries for some keys
  Scratch mixed;      ///< weighted sums of values, or the sums of Winograd's planes
  Scratch by_row;     ///< relative positions of queries and key rows
  Scratch by_column;  ///< and key columns

  std::size_t bytes() const {
    return line.bytes() + turning.bytes() + rows.bytes() + panels.bytes() + values.bytes() +
           scores.bytes() + mixed.bytes() + by_row.bytes() + by_column.bytes();
  }
};

/// Floats that a thread needs for some purpose.
struct ScratchSize {
  Scratch ThreadScratch::*purpose;
  Index count;
};

/// Makes room for every thread, whichever of them will need it: so a second run of the same shapes
/// takes no memory.
inline void reserve(ThreadScratch* scratch, int threads, std::initializer_list<ScratchSize> sizes) {
  for (int thread = 0; thread < threads; ++thread) {
    for (const ScratchSize& size : sizes) (scratch[thread].*size.purpose).take(size.count);
  }
}

/// Rounds `count` up to whole multiples of `step`.
inline Index round_up(Index count, Index step) { return (count + step - 1) / step * step; }

}  // namespace promiseg::eigen

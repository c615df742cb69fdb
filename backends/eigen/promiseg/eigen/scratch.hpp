// Working memory of the backend's own loops, one per thread, kept from call to call.
#pragma once

#include <algorithm>
#include <cstddef>

#include "promiseg/core/buffer.hpp"

namespace promiseg::eigen {

/// A few numbers of working memory that grow to the largest size ever asked for.
class Scratch {
 public:
  /// Room for `count` floats, uninitialised; what was taken before is lost.
  float* take(Index count) {
    const std::size_t size = static_cast<std::size_t>(count) * sizeof(float);
    if (size > buffer_.size()) buffer_ = allocate_host(size);
    return static_cast<float*>(buffer_.data());
  }

 private:
  Buffer buffer_;
};

/// Rounds `count` up to whole multiples of `step`.
inline Index round_up(Index count, Index step) { return (count + step - 1) / step * step; }

}  // namespace promiseg::eigen

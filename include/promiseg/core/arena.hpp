// Scratch memory for intermediate tensors: taken in order, given back all at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "promiseg/core/buffer.hpp"

namespace promiseg {

/// A stack of memory blocks. `rewind` gives back everything taken since `mark`, and keeps the
/// blocks: when the same sequence of requests comes again, nothing is allocated.
class Arena {
 public:
  using Allocate = std::function<Buffer(std::size_t)>;

  struct Mark {
    std::size_t block = 0;
    std::size_t used = 0;
  };

  explicit Arena(Allocate allocate) : allocate_(std::move(allocate)) {}

  /// Memory aligned to `kAlignment`, valid until it is rewound. Throws what the allocator throws.
  void* take(std::size_t size) {
    const std::size_t rounded = (size + kAlignment - 1) / kAlignment * kAlignment;
    while (top_.block < blocks_.size() && top_.used + rounded > blocks_[top_.block].size()) {
      top_ = {top_.block + 1, 0};
    }
    if (top_.block == blocks_.size()) {
      blocks_.push_back(allocate_(std::max(rounded, kMinBlockSize)));
      reserved_ += blocks_.back().size();
    }
    void* data = static_cast<std::byte*>(blocks_[top_.block].data()) + top_.used;
    top_.used += rounded;
    return data;
  }

  Mark mark() const { return top_; }
  void rewind(Mark mark) { top_ = mark; }

  /// Bytes of all blocks, in use or not.
  std::size_t reserved() const { return reserved_; }

 private:
  static constexpr std::size_t kMinBlockSize = std::size_t{1} << 20;

  Allocate allocate_;
  std::vector<Buffer> blocks_;
  Mark top_;
  std::size_t reserved_ = 0;
};

}  // namespace promiseg

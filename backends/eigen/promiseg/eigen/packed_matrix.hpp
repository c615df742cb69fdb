// A weight matrix laid out for the matrix product's inner loop.
#pragma once

#include <algorithm>

#include "promiseg/core/buffer.hpp"
#include "promiseg/core/thread_pool.hpp"
#include "promiseg/eigen/packing.hpp"

namespace promiseg::eigen {

/// Panels of `width` output channels, each [words of inputs][width]: the inner loop reads them from
/// beginning to end.
class PackedMatrix {
 public:
  PackedMatrix() = default;

  /// weights [outputs, inputs], as checkpoints store them.
  PackedMatrix(const ProductKernels& kernels, TensorView<const float, 2> weights, Index width,
               ThreadPool& pool, ThreadScratch* scratch)
      : kernels_(&kernels), outputs_(weights.extent(0)), inputs_(weights.extent(1)), width_(width) {
    const Index panels = (outputs_ + width - 1) / width;
    buffer_ = allocate_host(static_cast<std::size_t>(panels * panel_size()) * sizeof(float));
    if (inputs_ == 0) return;
    auto* packed = static_cast<float*>(buffer_.data());
    reserve(scratch, pool.size(), {{&ThreadScratch::line, panel_scratch_size(kernels, inputs_)}});
    pool.parallel_for(panels, [&](Index panel, int thread) {
      const Index first = panel * width;
      const auto rows = weights.slice(0, first, std::min(width, outputs_ - first));
      pack_panel(kernels, rows.permuted({1, 0}), width, scratch[thread].line,
                 packed + panel * panel_size());
    });
  }

  Index outputs() const { return outputs_; }
  Index inputs() const { return inputs_; }
  std::size_t bytes() const { return buffer_.size(); }

  /// Those that it was packed for.
  const ProductKernels& kernels() const { return *kernels_; }

  /// The panel of output channels from `first` on, at input `input`: both begin a panel and a word.
  const float* panel(Index first, Index input) const {
    return static_cast<const float*>(buffer_.data()) + first / width_ * panel_size() +
           input / kernels_->values_per_word * width_;
  }

 private:
  Index panel_size() const { return kernels_->words(inputs_) * width_; }

  const ProductKernels* kernels_ = nullptr;
  Buffer buffer_;
  Index outputs_ = 0;
  Index inputs_ = 0;
  Index width_ = 1;
};

}  // namespace promiseg::eigen

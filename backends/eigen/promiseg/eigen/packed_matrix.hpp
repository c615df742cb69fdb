// A weight matrix laid out for the matrix product's inner loop.
#pragma once

#include <algorithm>

#include "promiseg/core/buffer.hpp"
#include "promiseg/core/thread_pool.hpp"
#include "promiseg/eigen/packing.hpp"
#include "promiseg/eigen/pages.hpp"

namespace promiseg::eigen {

/// Extents of the weights of a product, or of several that share their extents.
struct WeightShape {
  Index outputs = 0;
  Index inputs = 0;
  Index planes = 1;  ///< matrices
};

/// Panels of `width` output channels, each [words of inputs][width]: the inner loop reads them from
/// beginning to end.
class PackedMatrix {
 public:
  PackedMatrix() = default;

  /// weights [outputs, inputs], as checkpoints store them.
  PackedMatrix(const ProductKernels& kernels, TensorView<const float, 2> weights, Index width,
               ThreadPool& pool, ThreadScratch* scratch)
      : PackedMatrix(kernels, {weights.extent(0), weights.extent(1)}, width, pool, scratch,
                     [&](Index /*plane*/, Index output, Index begin, Index count, float* line) {
                       return gather(&weights(output, begin), weights.stride(1), count, line);
                     }) {}

  /// `fetch(plane, output, begin, count, line)` returns weights of inputs [begin, begin + count),
  /// side by side, and may write them to `line`.
  template <class Fetch>
  PackedMatrix(const ProductKernels& kernels, const WeightShape& shape, Index width,
               ThreadPool& pool, ThreadScratch* scratch, const Fetch& fetch)
      : kernels_(&kernels), shape_(shape), width_(width) {
    const Index panels = this->panels();
    buffer_ = allocate_host(static_cast<std::size_t>(shape.planes * panels * panel_size()) *
                            sizeof(float));
    if (shape.inputs == 0) return;
    auto* packed = static_cast<float*>(buffer_.data());
    reserve(scratch, pool.size(), {{&ThreadScratch::turning, panel_scratch_size(width)}});
    pool.parallel_for(shape.planes * panels, [&](Index index, int thread) {
      const Index plane = index / panels;
      const Index first = index % panels * width;
      float* to = packed + index * panel_size();
      populate(to, static_cast<std::size_t>(panel_size()) * sizeof(float));
      pack_columns(
          kernels,
          [&](Index j, Index begin, Index count, float* line) {
            return fetch(plane, first + j, begin, count, line);
          },
          std::min(width, shape.outputs - first), shape.inputs, width, scratch[thread].turning, to);
    });
  }

  Index outputs() const { return shape_.outputs; }
  Index inputs() const { return shape_.inputs; }
  Index planes() const { return shape_.planes; }
  std::size_t bytes() const { return buffer_.size(); }

  /// Those that it was packed for.
  const ProductKernels& kernels() const { return *kernels_; }

  /// The panel of output channels from `first` on, at input `input`: both begin a panel and a word.
  const float* panel(Index first, Index input, Index plane = 0) const {
    return static_cast<const float*>(buffer_.data()) +
           (plane * panels() + first / width_) * panel_size() +
           input / kernels_->values_per_word * width_;
  }

  /// Of one plane.
  Index panels() const { return (shape_.outputs + width_ - 1) / width_; }
  /// From one panel to the next.
  Index panel_size() const { return kernels_->words(shape_.inputs) * width_; }

 private:
  const ProductKernels* kernels_ = nullptr;
  Buffer buffer_;
  WeightShape shape_;
  Index width_ = 1;
};

}  // namespace promiseg::eigen

// A weight matrix laid out for the matrix product's inner loop.
#pragma once

#include <algorithm>

#include "promiseg/core/buffer.hpp"
#include "promiseg/eigen/kernels.hpp"

namespace promiseg::eigen {

/// Copies columns `[first, first + count)` of a matrix [depth, columns], any strides, into one
/// panel [depth][width]; columns that do not exist become zero.
inline void pack_panel(TensorView<const float, 2> matrix, Index first, Index width, float* panel) {
  const Index count = std::min(width, matrix.extent(1) - first);
  const float* source = matrix.data() + first * matrix.stride(1);
  for (Index k = 0; k < matrix.extent(0); ++k, source += matrix.stride(0), panel += width) {
    for (Index j = 0; j < count; ++j) panel[j] = source[j * matrix.stride(1)];
    std::fill(panel + count, panel + width, 0.0F);
  }
}

/// Panels of `width` output channels, each [inputs][width]: the inner loop reads them from
/// beginning to end.
class PackedMatrix {
 public:
  PackedMatrix() = default;

  /// weights [outputs, inputs], as checkpoints store them.
  PackedMatrix(TensorView<const float, 2> weights, Index width)
      : outputs_(weights.extent(0)), inputs_(weights.extent(1)), width_(width) {
    const Index panels = (outputs_ + width - 1) / width;
    buffer_ = allocate_host(static_cast<std::size_t>(panels * inputs_ * width) * sizeof(float));
    auto* panel = static_cast<float*>(buffer_.data());
    for (Index first = 0; first < outputs_; first += width, panel += inputs_ * width) {
      pack_panel(weights.permuted({1, 0}), first, width, panel);
    }
  }

  Index outputs() const { return outputs_; }
  Index inputs() const { return inputs_; }

  /// The panel of output channels from `first` on, at input `input`.
  const float* panel(Index first, Index input) const {
    return static_cast<const float*>(buffer_.data()) + first * inputs_ + input * width_;
  }

 private:
  Buffer buffer_;
  Index outputs_ = 0;
  Index inputs_ = 0;
  Index width_ = 1;
};

}  // namespace promiseg::eigen

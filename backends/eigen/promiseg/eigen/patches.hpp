// The patch matrix of a convolution, without storing it.
#pragma once

#include <algorithm>

#include "promiseg/backend/concept.hpp"

namespace promiseg::eigen {

/// One row per output pixel, one column per [kernel row, kernel column, channel]. What lies outside
/// the image is zero. The image's channels lie side by side.
class Patches {
 public:
  /// `out` holds the output's height and width.
  Patches(TensorView<const float, 4> in, ConvGeometry geometry, const Extents<2>& out)
      : in_(in), geometry_(geometry), out_(out) {}

  Index rows() const { return in_.extent(0) * out_[0] * out_[1]; }
  Index columns() const { return geometry_.kernel * geometry_.kernel * in_.extent(3); }

  /// Writes columns [begin, begin + count) of the row of a pixel.
  void copy(Index pixel, Index begin, Index count, float* to) const {
    const Index channels = in_.extent(3);
    const Index x = pixel % out_[1] * geometry_.stride - geometry_.padding;
    const Index y = pixel / out_[1] % out_[0] * geometry_.stride - geometry_.padding;
    const Index item = pixel / (out_[0] * out_[1]);
    while (count > 0) {
      const Index tap = begin / channels;
      const Index channel = begin % channels;
      const Index run = std::min(count, channels - channel);
      const Index iy = y + tap / geometry_.kernel;
      const Index ix = x + tap % geometry_.kernel;
      if (iy >= 0 && iy < in_.extent(1) && ix >= 0 && ix < in_.extent(2)) {
        std::copy_n(&in_(item, iy, ix, channel), run, to);
      } else {
        std::fill_n(to, run, 0.0F);
      }
      begin += run;
      count -= run;
      to += run;
    }
  }

 private:
  TensorView<const float, 4> in_;
  ConvGeometry geometry_;
  Extents<2> out_;
};

}  // namespace promiseg::eigen

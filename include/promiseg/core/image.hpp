// The image type at the library's surface: 8-bit pixels, rows top to bottom, channels interleaved.
#pragma once

#include <cstdint>

#include "promiseg/core/tensor.hpp"

namespace promiseg {

/// `[height, width, channels]`, channels 1 (grey) or 3 (RGB). Any strides.
using ImageView = TensorView<const std::uint8_t, 3>;

/// An owning image of the same shape.
using Image = Tensor<std::uint8_t, 3>;

/// `[height, width]`, 0 outside and 255 inside an object, or a label index.
using Mask = Tensor<std::uint8_t, 2>;

/// Height and width in pixels, in this order, as the original code passes sizes.
struct ImageSize {
  Index height = 0;
  Index width = 0;

  friend bool operator==(const ImageSize&, const ImageSize&) = default;
};

/// Throws `shape_mismatch` unless the image has pixels and one or three channels.
inline void require_image(ImageView image) {
  require(
      image.extent(0) > 0 && image.extent(1) > 0 && (image.extent(2) == 1 || image.extent(2) == 3),
      ErrorCode::shape_mismatch,
      "image: expected [height, width, 1 or 3] with at least one pixel, got ",
      shape_text(image.extents()));
}

}  // namespace promiseg

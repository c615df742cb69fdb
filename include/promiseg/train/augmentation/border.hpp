// What lies beyond the edge of an image: its own pixels, mirrored.
#pragma once

#include <cstdint>

#include "promiseg/core/image.hpp"

namespace promiseg::detail {

/// The pixel that stands for position `i` of an axis of `size` pixels, by OpenCV's rule
/// REFLECT_101: of abcd the edge is not repeated, dcb|abcd|cba.
inline Index reflect_101(Index i, Index size) {
  if (i >= 0 && i < size) return i;
  if (size == 1) return 0;
  const Index period = 2 * (size - 1);
  const Index phase = (i % period + period) % period;
  return phase < size ? phase : period - phase;
}

/// A contiguous copy with `margin` mirrored pixels on every side.
inline Image reflect_padded(ImageView image, Index margin) {
  Image padded(
      Extents<3>{image.extent(0) + 2 * margin, image.extent(1) + 2 * margin, image.extent(2)});
  std::uint8_t* to = padded.data();
  for (Index y = 0; y < padded.extent(0); ++y) {
    const Index from_y = reflect_101(y - margin, image.extent(0));
    for (Index x = 0; x < padded.extent(1); ++x) {
      const Index from_x = reflect_101(x - margin, image.extent(1));
      for (Index c = 0; c < image.extent(2); ++c) *to++ = image(from_y, from_x, c);
    }
  }
  return padded;
}

}  // namespace promiseg::detail

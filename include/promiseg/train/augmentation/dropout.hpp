// Black squares: a network shall not depend on any one place of the image.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "promiseg/core/image.hpp"

namespace promiseg {

/// A rectangle of whole pixels.
struct Hole {
  Index top = 0;
  Index left = 0;
  Index height = 0;
  Index width = 0;
};

/// The image with its holes black. Throws `invalid_argument` for a hole that reaches outside.
inline Image drop_holes(Image image, std::span<const Hole> holes) {
  for (const Hole& hole : holes) {
    const auto part = image.view().slice(0, hole.top, hole.height).slice(1, hole.left, hole.width);
    for (Index y = 0; y < hole.height; ++y) {
      // The pixels of a row lie side by side.
      std::fill_n(part.data() + y * part.stride(0), hole.width * image.extent(2), std::uint8_t{0});
    }
  }
  return image;
}

}  // namespace promiseg

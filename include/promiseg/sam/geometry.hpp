// The geometry between an image and the model's frame: sizes and points.
#pragma once

#include <algorithm>
#include <string_view>

#include "promiseg/core/image.hpp"

namespace promiseg {

/// A position in pixels: x to the right, y down.
struct ImagePoint {
  double x = 0.0;
  double y = 0.0;

  friend bool operator==(const ImagePoint&, const ImagePoint&) = default;
};

/// Throws `invalid_argument`, naming `what`, unless both sides are positive.
inline void require_size(ImageSize size, std::string_view what) {
  require(size.height > 0 && size.width > 0, ErrorCode::invalid_argument, what,
          ": expected positive sides, got ", size.height, " x ", size.width, " (height x width)");
}

/// The size whose longest side is `target` pixels (`ResizeLongestSide.get_preprocess_shape`): each
/// side is scaled in double and rounded half up; unlike the original never below one pixel.
/// Throws `invalid_argument` for sides or a target that are not positive.
inline ImageSize longest_side_size(ImageSize original, Index target) {
  require_size(original, "longest_side_size: original size");
  require(target > 0, ErrorCode::invalid_argument,
          "longest_side_size: target: expected a positive number of pixels, got ", target);
  const double scale =
      static_cast<double>(target) / static_cast<double>(std::max(original.height, original.width));
  const auto scaled = [scale](Index side) {
    return std::max<Index>(static_cast<Index>(static_cast<double>(side) * scale + 0.5), 1);
  };
  return {scaled(original.height), scaled(original.width)};
}

/// A point of an image of size `from` at the same place of its resized copy of size `to`, each axis
/// by its own factor (`ResizeLongestSide.apply_coords`). Swap the sizes for the way back; a box is
/// its two corners. Throws `invalid_argument` for sizes that are not positive.
inline ImagePoint scale_point(ImagePoint point, ImageSize from, ImageSize to) {
  require_size(from, "scale_point: from");
  require_size(to, "scale_point: to");
  return {point.x * (static_cast<double>(to.width) / static_cast<double>(from.width)),
          point.y * (static_cast<double>(to.height) / static_cast<double>(from.height))};
}

}  // namespace promiseg

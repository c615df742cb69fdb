// Morphology of masks with square kernels, by the rules of OpenCV's morphologyEx.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "promiseg/core/image.hpp"

namespace promiseg {

namespace detail {

/// Along one axis of `extent` pixels: the window of pixel i is [i - before, i + after].
struct KernelWindow {
  Index before = 0;
  Index after = 0;

  /// OpenCV's default anchor is at `size / 2`. Reaching beyond the axis changes nothing, so both
  /// sides are cut to it, which keeps any size free of overflow.
  KernelWindow(Index size, Index extent)
      : before(std::min(size / 2, extent)), after(std::min(size - 1 - size / 2, extent)) {}
};

/// Pixels whose window holds one that is `inside` become so themselves, all others the opposite.
/// What lies outside the mask takes no part. Each pass keeps the last position that was hit and
/// reads only ahead of where it writes: in place, and of the same cost for every kernel size.
inline void spread(Mask& mask, Index size, bool inside) {
  const Index height = mask.extent(0);
  const Index width = mask.extent(1);
  const auto value = [inside](bool hit) -> std::uint8_t { return hit == inside ? 255 : 0; };

  const KernelWindow across(size, width);
  for (Index y = 0; y < height; ++y) {
    std::uint8_t* row = mask.data() + y * width;
    Index last = -width - 1;
    for (Index x = 0, next = 0; x < width; ++x) {
      for (const Index end = std::min(width, x + across.after + 1); next < end; ++next) {
        if ((row[next] != 0) == inside) last = next;
      }
      row[x] = value(last >= x - across.before);
    }
  }

  const KernelWindow down(size, height);
  std::vector<Index> last(static_cast<std::size_t>(width), -height - 1);  // of every column
  for (Index y = 0, next = 0; y < height; ++y) {
    for (const Index end = std::min(height, y + down.after + 1); next < end; ++next) {
      const std::uint8_t* row = mask.data() + next * width;
      for (std::size_t x = 0; x < last.size(); ++x) {
        last[x] = (row[x] != 0) == inside ? next : last[x];
      }
    }
    std::uint8_t* row = mask.data() + y * width;
    for (std::size_t x = 0; x < last.size(); ++x) row[x] = value(last[x] >= y - down.before);
  }
}

inline void require_kernel(Index size) {
  require(size >= 1, ErrorCode::invalid_argument,
          "morphology: expected a kernel of 1 pixel or more, got ", size);
}

}  // namespace detail

// In all of these any value but 0 is inside, the result is 0 or 255, the kernel is a square of
// `size` pixels, and the world beyond the mask limits nothing: OpenCV's default border. With an
// even size the anchor is OpenCV's too, the pixel right of and below the centre; opening and
// closing then move the outline by one pixel to the right and down, as there. A size below 1 throws
// `invalid_argument`.

/// Inside stays what has only inside under the kernel (`cv2.erode`).
inline Mask erode(Mask mask, Index size) {
  detail::require_kernel(size);
  detail::spread(mask, size, false);
  return mask;
}

/// Inside becomes what has any inside under the kernel (`cv2.dilate`).
inline Mask dilate(Mask mask, Index size) {
  detail::require_kernel(size);
  detail::spread(mask, size, true);
  return mask;
}

/// Erosion, then dilation: removes specks and bridges thinner than the kernel (`MORPH_OPEN`).
inline Mask morph_open(Mask mask, Index size) { return dilate(erode(std::move(mask), size), size); }

/// Dilation, then erosion: closes gaps thinner than the kernel (`MORPH_CLOSE`).
inline Mask morph_close(Mask mask, Index size) {
  return erode(dilate(std::move(mask), size), size);
}

}  // namespace promiseg

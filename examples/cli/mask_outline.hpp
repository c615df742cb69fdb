// The border of a mask as closed polygons (marching squares over a yes/no image).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "promiseg/core/image.hpp"

namespace promiseg::cli {

/// A corner of an outline in half pixels from the outer edge of the image's top left pixel: pixel
/// (x, y) covers [2x, 2x+2] by [2y, 2y+2].
struct OutlinePoint {
  std::int32_t x = 0;
  std::int32_t y = 0;

  friend bool operator==(const OutlinePoint&, const OutlinePoint&) = default;
};

/// The pixels [x0, x1) by [y0, y1); empty where x0 == x1.
struct PixelRange {
  Index x0 = 0;
  Index y0 = 0;
  Index x1 = 0;
  Index y1 = 0;
};

/// All closed outlines of a mask, one after the other.
struct MaskOutlines {
  std::vector<OutlinePoint> points;
  std::vector<std::size_t> ends;  ///< where each outline ends in `points`
  PixelRange range;               ///< holds every pixel of the object

  std::span<const OutlinePoint> outline(std::size_t index) const {
    const std::size_t begin = index == 0 ? 0 : ends[index - 1];
    return std::span(points).subspan(begin, ends[index] - begin);
  }
};

using MaskView = TensorView<const std::uint8_t, 2>;

/// The smallest range that holds every non-zero pixel of a mask `[height, width]`.
inline PixelRange mask_range(MaskView mask) {
  const Index width = mask.extent(1);
  PixelRange range{width, mask.extent(0), 0, 0};
  for (Index y = 0; y < mask.extent(0); ++y) {
    const std::uint8_t* row = mask.data() + y * mask.stride(0);
    const Index step = mask.stride(1);
    // A contiguous row of zeros equals itself shifted by one, which is the quickest way to see it.
    if (step == 1 && width > 0 && row[0] == 0 &&
        std::memcmp(row, row + 1, static_cast<std::size_t>(width - 1)) == 0) {
      continue;
    }
    Index first = 0;
    while (first < width && row[first * step] == 0) ++first;
    if (first == width) continue;
    Index last = width - 1;
    while (last > first && row[last * step] == 0) --last;
    range.x0 = std::min(range.x0, first);
    range.x1 = std::max(range.x1, last + 1);
    range.y0 = std::min(range.y0, y);
    range.y1 = y + 1;
  }
  return range.x1 == 0 ? PixelRange{} : range;
}

namespace detail {

/// Follows the borders of one mask. Works on a copy of the object's range with one ring of
/// outside pixels around it, so that no step needs a bounds check and borders on the image's
/// edge close by themselves.
class OutlineTracer {
 public:
  OutlineTracer(MaskView mask, const PixelRange& range)
      : range_(range),
        pitch_(range.x1 - range.x0 + 2),
        cells_(static_cast<std::size_t>(pitch_ * (range.y1 - range.y0 + 2))),
        step_{1, pitch_, -1, -pitch_} {
    for (Index y = range.y0; y < range.y1; ++y) {
      std::uint8_t* to = cells_.data() + (y - range.y0 + 1) * pitch_ + 1;
      for (Index x = range.x0; x < range.x1; ++x) *to++ = mask(y, x) != 0 ? kInside : kOutside;
    }
  }

  MaskOutlines trace() {
    MaskOutlines result{{}, {}, range_};
    const Index count = static_cast<Index>(cells_.size());
    // Every closed border has an upper side somewhere, so those alone are starting points.
    for (Index pixel = pitch_; pixel < count; ++pixel) {
      if (cell(pixel) == kInside && !inside(pixel - pitch_)) follow(pixel, result);
    }
    return result;
  }

 private:
  static constexpr std::uint8_t kOutside = 0;
  static constexpr std::uint8_t kInside = 1;
  static constexpr std::uint8_t kInsideAndFollowed = 2;  // its upper side lies on a known border

  // Sides of a pixel, clockwise on the screen.
  static constexpr int kRight = 0;
  static constexpr int kDown = 1;
  static constexpr int kUp = 3;

  std::uint8_t& cell(Index pixel) { return cells_[static_cast<std::size_t>(pixel)]; }
  bool inside(Index pixel) const { return cells_[static_cast<std::size_t>(pixel)] != kOutside; }

  /// The middle of one side of a pixel.
  OutlinePoint middle(Index pixel, int side) const {
    const Index x = 2 * (range_.x0 + pixel % pitch_ - 1) + 1;
    const Index y = 2 * (range_.y0 + pixel / pitch_ - 1) + 1;
    const Index dx = side == kRight ? 1 : (side == kDown || side == kUp ? 0 : -1);
    const Index dy = side == kDown ? 1 : (side == kUp ? -1 : 0);
    return {static_cast<std::int32_t>(x + dx), static_cast<std::int32_t>(y + dy)};
  }

  /// Walks once around a border with the object at the right hand, keeping only true corners.
  void follow(Index start, MaskOutlines& result) {
    const std::size_t begin = result.points.size();
    const OutlinePoint origin = middle(start, kUp);
    OutlinePoint here = origin;
    OutlinePoint first_move;
    OutlinePoint last_move;
    Index pixel = start;
    int side = kUp;
    do {
      if (side == kUp) cell(pixel) = kInsideAndFollowed;
      const Index ahead = step_[static_cast<std::size_t>((side + 1) % 4)];
      const Index diagonal = pixel + step_[static_cast<std::size_t>(side)] + ahead;
      // Pixels that touch at a corner are connected: thin oblique structures stay in one piece.
      if (inside(diagonal)) {
        pixel = diagonal;
        side = (side + 3) % 4;
      } else if (inside(pixel + ahead)) {
        pixel += ahead;
      } else {
        side = (side + 1) % 4;
      }
      const OutlinePoint next = middle(pixel, side);
      const OutlinePoint move{next.x - here.x, next.y - here.y};
      if (here == origin && result.points.size() == begin) first_move = move;
      if (move != last_move) result.points.push_back(here);
      last_move = move;
      here = next;
    } while (pixel != start || side != kUp);
    if (first_move == last_move) {
      result.points.erase(result.points.begin() + static_cast<std::ptrdiff_t>(begin));
    }
    result.ends.push_back(result.points.size());
  }

  PixelRange range_;
  Index pitch_;
  std::vector<std::uint8_t> cells_;
  std::array<Index, 4> step_;
};

}  // namespace detail

/// The borders of the non-zero pixels of a mask `[height, width]`, holes included. The polygons
/// join the middles of pixel sides, so straight borders lie exactly between inside and outside
/// pixels and corners are cut at 45 degrees. Outer borders run clockwise on the screen, holes the
/// other way; pixels that touch at a corner belong together. Straight runs are single segments.
/// Throws `invalid_argument` if a side exceeds 2^29 pixels.
inline MaskOutlines trace_outlines(MaskView mask) {
  constexpr Index kLimit = Index{1} << 29;
  require(mask.extent(0) <= kLimit && mask.extent(1) <= kLimit, ErrorCode::invalid_argument,
          "trace_outlines: mask of shape ", shape_text(mask.extents()), " is too large");
  const PixelRange range = mask_range(mask);
  if (range.x0 == range.x1) return {};
  return detail::OutlineTracer(mask, range).trace();
}

}  // namespace promiseg::cli

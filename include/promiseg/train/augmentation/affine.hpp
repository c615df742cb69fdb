// Moving, turning, scaling and mirroring of images and masks by one map.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "promiseg/core/image.hpp"
#include "promiseg/train/augmentation/border.hpp"

namespace promiseg {

/// Where output comes from: the pixel at (x, y) shows the source at
/// (xx x + xy y + x0, yx x + yy y + y0). Whole numbers are the centres of pixels.
struct AffineMap {
  double xx = 1.0;
  double xy = 0.0;
  double x0 = 0.0;
  double yx = 0.0;
  double yy = 1.0;
  double y0 = 0.0;
};

/// The map that applies `inner` to an output position, and `outer` to what comes of it.
inline AffineMap composed(const AffineMap& outer, const AffineMap& inner) {
  AffineMap map;
  map.xx = outer.xx * inner.xx + outer.xy * inner.yx;
  map.xy = outer.xx * inner.xy + outer.xy * inner.yy;
  map.x0 = outer.xx * inner.x0 + outer.xy * inner.y0 + outer.x0;
  map.yx = outer.yx * inner.xx + outer.yy * inner.yx;
  map.yy = outer.yx * inner.xy + outer.yy * inner.yy;
  map.y0 = outer.yx * inner.x0 + outer.yy * inner.y0 + outer.y0;
  return map;
}

/// A part of an image in pixels, with fractions; (0, 0) is the corner of the first pixel.
struct CropBox {
  double left = 0.0;
  double top = 0.0;
  double width = 1.0;
  double height = 1.0;
};

/// Enlarges the box to `size`, the image's own.
inline AffineMap crop_map(const CropBox& box, ImageSize size) {
  AffineMap map;
  map.xx = box.width / static_cast<double>(size.width);
  map.x0 = box.left + 0.5 * map.xx - 0.5;
  map.yy = box.height / static_cast<double>(size.height);
  map.y0 = box.top + 0.5 * map.yy - 0.5;
  return map;
}

/// Mirrors left and right, top and bottom, or both.
inline AffineMap flip_map(ImageSize size, bool horizontal, bool vertical) {
  AffineMap map;
  if (horizontal) {
    map.xx = -1.0;
    map.x0 = static_cast<double>(size.width - 1);
  }
  if (vertical) {
    map.yy = -1.0;
    map.y0 = static_cast<double>(size.height - 1);
  }
  return map;
}

/// A turn and a change of size about the image's centre, then a shift.
struct Similarity {
  double degrees = 0.0;  ///< anticlockwise
  double scale = 1.0;
  double shift_x = 0.0;  ///< pixels, to the right
  double shift_y = 0.0;  ///< pixels, down
};

inline AffineMap similarity_map(const Similarity& similarity, ImageSize size) {
  const double angle = similarity.degrees * std::numbers::pi / 180.0;
  const double along = std::cos(angle) / similarity.scale;
  const double across = std::sin(angle) / similarity.scale;
  const double centre_x = static_cast<double>(size.width - 1) / 2.0;
  const double centre_y = static_cast<double>(size.height - 1) / 2.0;
  const double from_x = centre_x + similarity.shift_x;
  const double from_y = centre_y + similarity.shift_y;
  return {along,  -across, centre_x - along * from_x + across * from_y,
          across, along,   centre_y - across * from_x - along * from_y};
}

namespace detail {

// Maps are whole multiples of 2^-32, and weights of neighbours multiples of 2^-10: where another
// machine's sine or compiler rounds the last bit of a double differently, nothing comes of it.
inline constexpr int kPositionBits = 32;
inline constexpr int kWeightBits = 10;
inline constexpr std::int32_t kWeightUnit = 1 << kWeightBits;

/// Keeps sums of positions below 2^62: see `to_fixed_map`.
inline constexpr Index kMaxWarpSide = Index{1} << 22;

struct FixedMap {
  std::int64_t xx;
  std::int64_t xy;
  std::int64_t x0;
  std::int64_t yx;
  std::int64_t yy;
  std::int64_t y0;
};

inline std::int64_t to_fixed(double value, double limit) {
  require(std::abs(value) <= limit, ErrorCode::invalid_argument,
          "affine map: expected numbers of at most ", limit, ", got ", value);
  return std::llround(std::ldexp(value, kPositionBits));
}

inline FixedMap to_fixed_map(const AffineMap& map, ImageSize size) {
  constexpr double kMaxFactor = 64.0;
  constexpr double kMaxOffset = kMaxFactor * static_cast<double>(kMaxWarpSide);
  require(size.height <= kMaxWarpSide && size.width <= kMaxWarpSide, ErrorCode::shape_mismatch,
          "affine map: expected images of at most ", kMaxWarpSide, " pixels a side, got ",
          size.height, " x ", size.width, " (height x width)");
  return {to_fixed(map.xx, kMaxFactor), to_fixed(map.xy, kMaxFactor), to_fixed(map.x0, kMaxOffset),
          to_fixed(map.yx, kMaxFactor), to_fixed(map.yy, kMaxFactor), to_fixed(map.y0, kMaxOffset)};
}

/// Calls `visit(y, x)` with the source of every output pixel, row by row.
template <class Visit>
void visit_sources(const AffineMap& map, ImageSize size, const Visit& visit) {
  const FixedMap fixed = to_fixed_map(map, size);
  for (Index row = 0; row < size.height; ++row) {
    std::int64_t x = fixed.xy * row + fixed.x0;
    std::int64_t y = fixed.yy * row + fixed.y0;
    for (Index column = 0; column < size.width; ++column) {
      visit(y, x);
      x += fixed.xx;
      y += fixed.yx;
    }
  }
}

/// The nearest pixel of an axis.
inline Index nearest_pixel(std::int64_t position, Index size) {
  constexpr std::int64_t kHalf = std::int64_t{1} << (kPositionBits - 1);
  return reflect_101(static_cast<Index>((position + kHalf) >> kPositionBits), size);
}

/// The two pixels of an axis that a position lies between.
struct PixelPair {
  Index first;
  Index second;
  std::int32_t second_weight;  ///< out of `kWeightUnit`
};

inline PixelPair pixels_around(std::int64_t position, Index size) {
  constexpr int kDroppedBits = kPositionBits - kWeightBits;
  constexpr std::int64_t kHalf = std::int64_t{1} << (kDroppedBits - 1);
  const std::int64_t rounded = (position + kHalf) >> kDroppedBits;
  const auto first = static_cast<Index>(rounded >> kWeightBits);
  return {reflect_101(first, size), reflect_101(first + 1, size),
          static_cast<std::int32_t>(rounded & (kWeightUnit - 1))};
}

inline std::uint8_t between(ImageView image, const PixelPair& rows, const PixelPair& columns,
                            Index channel) {
  const auto along_row = [&](Index y) -> std::int32_t {
    return image(y, columns.first, channel) * (kWeightUnit - columns.second_weight) +
           image(y, columns.second, channel) * columns.second_weight;
  };
  const std::int32_t sum = along_row(rows.first) * (kWeightUnit - rows.second_weight) +
                           along_row(rows.second) * rows.second_weight;
  constexpr std::int32_t kUnit = kWeightUnit * kWeightUnit;
  return static_cast<std::uint8_t>((sum + kUnit / 2) / kUnit);
}

}  // namespace detail

/// An image of the same size, every pixel between the four nearest of its source; beyond the edge
/// the image is mirrored. Throws `shape_mismatch` for an image without pixels, or
/// `invalid_argument` for a map that enlarges or shifts out of all proportion.
inline Image warp_bilinear(ImageView image, const AffineMap& map) {
  require_image(image);
  Image warped(image.extents());
  std::uint8_t* to = warped.data();
  const auto take = [&](std::int64_t y, std::int64_t x) {
    const detail::PixelPair rows = detail::pixels_around(y, image.extent(0));
    const detail::PixelPair columns = detail::pixels_around(x, image.extent(1));
    for (Index c = 0; c < image.extent(2); ++c) *to++ = detail::between(image, rows, columns, c);
  };
  detail::visit_sources(map, {image.extent(0), image.extent(1)}, take);
  return warped;
}

/// The same for a mask, every pixel the nearest of its source: no new values.
inline Mask warp_nearest(TensorView<const std::uint8_t, 2> mask, const AffineMap& map) {
  Mask warped(mask.extents());
  std::uint8_t* to = warped.data();
  const auto take = [&](std::int64_t y, std::int64_t x) {
    *to++ =
        mask(detail::nearest_pixel(y, mask.extent(0)), detail::nearest_pixel(x, mask.extent(1)));
  };
  detail::visit_sources(map, {mask.extent(0), mask.extent(1)}, take);
  return warped;
}

}  // namespace promiseg

// Pillow's antialiased bilinear resize of 8-bit images, bit for bit: the rule of SAM's own
// preprocessing (`ResizeLongestSide.apply_image`).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "promiseg/sam/resize_detail.hpp"

namespace promiseg {
namespace detail {

/// Fraction bits of the weights: 32 less 8 of the pixels and 2 of head-room.
inline constexpr int kPillowWeightBits = 22;

using TriangleFilter = WindowTable<std::int32_t>;

/// The triangle filter, widened by the scale when shrinking; positions are pixel centres.
inline TriangleFilter make_triangle_filter(Index in_size, Index out_size) {
  const double scale = static_cast<double>(in_size) / static_cast<double>(out_size);
  const double support = std::max(scale, 1.0);
  TriangleFilter filter;
  filter.windows.reserve(static_cast<std::size_t>(out_size));
  std::vector<double> window;
  for (Index out = 0; out < out_size; ++out) {
    const double centre = (static_cast<double>(out) + 0.5) * scale;
    const Index first = std::max<Index>(static_cast<Index>(centre - support + 0.5), 0);
    const Index last = std::min<Index>(static_cast<Index>(centre + support + 0.5), in_size);
    window.clear();
    double sum = 0.0;
    for (Index in = first; in < last; ++in) {
      const double distance = std::abs((static_cast<double>(in) - centre + 0.5) * (1.0 / support));
      window.push_back(distance < 1.0 ? 1.0 - distance : 0.0);
      sum += window.back();
    }
    filter.windows.push_back({first, last - first, static_cast<Index>(filter.weights.size())});
    for (double weight : window) {
      filter.weights.push_back(
          static_cast<std::int32_t>(0.5 + (weight / sum) * (1 << kPillowWeightBits)));
    }
  }
  return filter;
}

inline constexpr std::int32_t kPillowHalf = 1 << (kPillowWeightBits - 1);

inline std::uint8_t pillow_clip(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::min(sum >> kPillowWeightBits, 255));
}

/// One packed row `[in_width, channels]` to `[out_width, channels]`.
template <class Channels>
void filter_row(const std::uint8_t* in, const TriangleFilter& filter, Channels channels,
                std::uint8_t* out) {
  const Index step = channels;
  for (const TriangleFilter::Window& window : filter.windows) {
    const std::int32_t* weights = filter.weights.data() + window.weights;
    const std::uint8_t* pixel = in + window.first * step;
    for (Index c = 0; c < step; ++c) {
      std::int32_t sum = kPillowHalf;
      for (Index k = 0; k < window.count; ++k) sum += pixel[k * step + c] * weights[k];
      *out++ = pillow_clip(sum);
    }
  }
}

}  // namespace detail

/// Resizes `[height, width, channels]` as Pillow's `Image.resize(size, BILINEAR)` does: triangle
/// filter scaled up when shrinking, 22-bit weights, 8 bits between the passes, and no pass along an
/// axis whose size stays. The horizontal pass comes first unless, as since Pillow 13, the rows lose
/// more than twice as many pixels as the columns. Any strides and channel count; exact. Throws
/// `shape_mismatch` for an empty image, `invalid_argument` for an impossible target.
inline Image resize_pillow_bilinear(ImageView image, ImageSize target) {
  detail::require_resizable(image, target, "resize_pillow_bilinear");
  if (image.extent(0) == target.height && image.extent(1) == target.width) return Image(image);

  const Index lost_rows = image.extent(0) - target.height;
  const Index lost_columns = image.extent(1) - target.width;
  if (lost_columns != 0 && lost_rows > 0 && lost_rows > 2 * lost_columns) {
    const Image shortened = resize_pillow_bilinear(image, {target.height, image.extent(1)});
    return resize_pillow_bilinear(shortened, target);
  }

  const Index channels = image.extent(2);
  const Index row_size = target.width * channels;
  const bool filters_columns = image.extent(1) != target.width;
  Image result({target.height, target.width, channels});
  detail::PackedRows<std::uint8_t> source(image);
  detail::TriangleFilter columns;
  if (filters_columns) columns = detail::make_triangle_filter(image.extent(1), target.width);

  const auto first_pass = [&](Index y, std::uint8_t* out) {
    const std::uint8_t* row = source.row(y);
    if (!filters_columns) {
      std::copy_n(row, row_size, out);
    } else {
      detail::with_channels(channels,
                            [&](auto count) { detail::filter_row(row, columns, count, out); });
    }
  };

  if (image.extent(0) == target.height) {
    for (Index y = 0; y < target.height; ++y) first_pass(y, result.data() + y * row_size);
    return result;
  }

  // The windows move downwards only, so a ring of the longest window holds every row still needed.
  const detail::TriangleFilter rows = detail::make_triangle_filter(image.extent(0), target.height);
  Index ring_rows = 0;
  for (const auto& window : rows.windows) ring_rows = std::max(ring_rows, window.count);
  auto ring = detail::make_row<std::uint8_t>(ring_rows * row_size);
  auto sums = detail::make_row<std::int32_t>(row_size);
  Index next_row = 0;
  for (Index y = 0; y < target.height; ++y) {
    const auto& window = rows.windows[static_cast<std::size_t>(y)];
    for (; next_row < window.first + window.count; ++next_row) {
      first_pass(next_row, ring.data() + (next_row % ring_rows) * row_size);
    }
    std::fill(sums.begin(), sums.end(), detail::kPillowHalf);
    for (Index k = 0; k < window.count; ++k) {
      const std::uint8_t* row = ring.data() + ((window.first + k) % ring_rows) * row_size;
      const std::int32_t weight = rows.weights[static_cast<std::size_t>(window.weights + k)];
      std::int32_t* sum = sums.data();
      for (Index i = 0; i < row_size; ++i) sum[i] += row[i] * weight;
    }
    std::transform(sums.begin(), sums.end(), result.data() + y * row_size, detail::pillow_clip);
  }
  return result;
}

}  // namespace promiseg

// Four ways to lose sharpness.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <vector>

#include "promiseg/core/image.hpp"
#include "promiseg/train/augmentation/border.hpp"
#include "promiseg/train/augmentation/filter.hpp"

namespace promiseg {

enum class BlurKind { none, box, gaussian, median, motion };

struct Blur {
  BlurKind kind = BlurKind::none;
  Index kernel = 3;      ///< side in pixels, 3 or 5
  double degrees = 0.0;  ///< direction of the motion
};

namespace detail {

inline void require_blur_kernel(Index kernel) {
  require(kernel == 3 || kernel == 5, ErrorCode::invalid_argument,
          "blur: expected a kernel of 3 or 5 pixels, got ", kernel);
}

/// Weighs each neighbour by the product of the weights of its row and its column.
inline Image blur_square(ImageView image, std::span<const std::int32_t> weights) {
  const auto half = static_cast<Index>(weights.size() / 2);
  std::vector<FilterTap> taps;
  std::int32_t unit = 0;
  for (std::size_t row = 0; row < weights.size(); ++row) {
    for (std::size_t column = 0; column < weights.size(); ++column) {
      const std::int32_t weight = weights[row] * weights[column];
      taps.push_back({static_cast<Index>(row) - half, static_cast<Index>(column) - half, weight});
      unit += weight;
    }
  }
  return filter(image, taps, unit);
}

/// The values of a window, counted, and the median among them. Moving the window costs what enters
/// and leaves it.
class MedianWindow {
 public:
  void add(std::uint8_t value) {
    ++counts_[value];
    if (value < median_) ++below_;
  }

  void remove(std::uint8_t value) {
    --counts_[value];
    if (value < median_) --below_;
  }

  /// The value that has `rank` others before it in order; the window must hold more than `rank`.
  std::uint8_t at_rank(Index rank) {
    while (below_ > rank) below_ -= counts_[--median_];
    while (below_ + counts_[median_] <= rank) below_ += counts_[median_++];
    return static_cast<std::uint8_t>(median_);
  }

 private:
  std::array<Index, 256> counts_{};
  std::size_t median_ = 0;
  Index below_ = 0;  ///< how many values are less than `median_`
};

/// Medians along one row of output; `rows` are the `kernel` rows of input that it looks at.
inline void median_row(TensorView<const std::uint8_t, 2> rows, TensorView<std::uint8_t, 1> out) {
  const Index kernel = rows.extent(0);
  MedianWindow window;
  const auto add_column = [&](Index x) {
    for (Index y = 0; y < kernel; ++y) window.add(rows(y, x));
  };
  for (Index x = 0; x < kernel; ++x) add_column(x);
  for (Index x = 0;; ++x) {
    out(x) = window.at_rank(kernel * kernel / 2);
    if (x + 1 == out.extent(0)) return;
    for (Index y = 0; y < kernel; ++y) window.remove(rows(y, x));
    add_column(x + kernel);
  }
}

}  // namespace detail

// All of these see the image mirrored beyond its edges, take kernels of 3 or 5 pixels and throw
// `invalid_argument` for others.

/// The mean of a square.
inline Image box_blur(ImageView image, Index kernel) {
  detail::require_blur_kernel(kernel);
  const std::vector<std::int32_t> weights(static_cast<std::size_t>(kernel), 1);
  return detail::blur_square(image, weights);
}

/// Binomial weights, 1 2 1 or 1 4 6 4 1: what OpenCV takes for kernels of these sizes.
inline Image gaussian_blur(ImageView image, Index kernel) {
  detail::require_blur_kernel(kernel);
  static constexpr std::array<std::int32_t, 3> kThree = {1, 2, 1};
  static constexpr std::array<std::int32_t, 5> kFive = {1, 4, 6, 4, 1};
  return kernel == 3 ? detail::blur_square(image, kThree) : detail::blur_square(image, kFive);
}

/// The median of a square, of each channel.
inline Image median_blur(ImageView image, Index kernel) {
  detail::require_blur_kernel(kernel);
  const Image padded = detail::reflect_padded(image, kernel / 2);
  Image result(image.extents());
  for (Index y = 0; y < image.extent(0); ++y) {
    const auto rows = padded.view().slice(0, y, kernel);
    const auto out = result.view().select(0, y);
    for (Index c = 0; c < image.extent(2); ++c) {
      detail::median_row(rows.select(2, c), out.select(1, c));
    }
  }
  return result;
}

/// The mean of a line through the pixel, at `degrees` from the horizontal.
inline Image motion_blur(ImageView image, Index kernel, double degrees) {
  detail::require_blur_kernel(kernel);
  const double angle = degrees * std::numbers::pi / 180.0;
  const double cosine = std::cos(angle);
  const double sine = std::sin(angle);
  const double longer = std::max(std::abs(cosine), std::abs(sine));
  std::vector<detail::FilterTap> taps;
  for (Index step = -(kernel / 2); step <= kernel / 2; ++step) {
    const double length = static_cast<double>(step) / longer;
    taps.push_back({std::lround(length * sine), std::lround(length * cosine), 1});
  }
  return detail::filter(image, taps, static_cast<std::int32_t>(kernel));
}

/// The image blurred in the way chosen; `none` copies it.
inline Image apply_blur(ImageView image, const Blur& blur) {
  switch (blur.kind) {
    case BlurKind::none:
      return Image(image);
    case BlurKind::box:
      return box_blur(image, blur.kernel);
    case BlurKind::gaussian:
      return gaussian_blur(image, blur.kernel);
    case BlurKind::median:
      return median_blur(image, blur.kernel);
    case BlurKind::motion:
      return motion_blur(image, blur.kernel, blur.degrees);
  }
  fail(ErrorCode::invalid_argument, "no blur has the number ", static_cast<int>(blur.kind));
}

}  // namespace promiseg

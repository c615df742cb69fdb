// OpenCV's INTER_AREA and INTER_LINEAR: the rules of LiteMedSAM's preprocessing and of the
// preparation of training images.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

#include "promiseg/sam/resize_interpolate.hpp"

namespace promiseg {
namespace detail {

/// The two factors of one axis, computed from each other in double as OpenCV does.
struct AxisScale {
  Index in_size;
  Index out_size;
  double out_per_in;
  double in_per_out;

  AxisScale(Index in, Index out)
      : in_size(in),
        out_size(out),
        out_per_in(static_cast<double>(out) / static_cast<double>(in)),
        in_per_out(1.0 / out_per_in) {}

  /// The factor if the axis shrinks (or stays) by a whole one; the comparison is OpenCV's.
  std::optional<Index> whole_factor() const {
    const double factor = std::nearbyint(in_per_out);
    if (std::abs(in_per_out - factor) >= std::numeric_limits<double>::epsilon()) return {};
    return static_cast<Index>(factor);
  }
};

/// 11-bit fixed point for 8-bit pixels, rounded half to even; float unchanged.
template <class T>
typename LinearArithmetic<T>::Weight linear_weight(float weight) {
  if constexpr (std::is_same_v<T, std::uint8_t>) {
    return static_cast<std::int32_t>(std::lrint(weight * 2048.0F));
  } else {
    return weight;
  }
}

enum class LinearPositions {
  pixel_centres,  ///< INTER_LINEAR
  pixel_areas,    ///< INTER_AREA where it enlarges: blends only where an output pixel straddles two
};

/// Outside the image the edge pixel is repeated. Along columns OpenCV also moves the weight to it,
/// along rows it keeps both weights, which rounds differently.
template <class T>
LinearTaps<T> make_linear_taps(const AxisScale& scale, LinearPositions positions,
                               bool moves_edge_weight) {
  LinearTaps<T> taps;
  taps.reserve(static_cast<std::size_t>(scale.out_size));
  for (Index i = 0; i < scale.out_size; ++i) {
    Index first = 0;
    float weight = 0.0F;
    if (positions == LinearPositions::pixel_centres) {
      const auto position =
          static_cast<float>((static_cast<double>(i) + 0.5) * scale.in_per_out - 0.5);
      first = static_cast<Index>(std::floor(position));
      weight = position - static_cast<float>(first);
    } else {
      first = static_cast<Index>(std::floor(static_cast<double>(i) * scale.in_per_out));
      weight = static_cast<float>(static_cast<double>(i + 1) -
                                  static_cast<double>(first + 1) * scale.out_per_in);
      weight = weight <= 0.0F ? 0.0F : weight - std::floor(weight);
    }
    if (moves_edge_weight && (first < 0 || first >= scale.in_size - 1)) weight = 0.0F;
    taps.push_back({std::clamp<Index>(first, 0, scale.in_size - 1),
                    std::clamp<Index>(first + 1, 0, scale.in_size - 1),
                    linear_weight<T>(1.0F - weight), linear_weight<T>(weight)});
  }
  return taps;
}

template <class T>
void interpolate_linear(const TensorView<const T, 3>& in, LinearPositions positions,
                        const AxisScale& rows, const AxisScale& columns,
                        const TensorView<T, 3>& out) {
  interpolate<T>(in, make_linear_taps<T>(rows, positions, false),
                 make_linear_taps<T>(columns, positions, true), out);
}

/// Means over blocks of whole pixels. 8-bit sums are exact; the mean is rounded half to even, half
/// up for 2x2 blocks of 1, 3 or 4 channels (OpenCV has a separate path for these).
inline void average_blocks(const TensorView<const std::uint8_t, 3>& in, Index rows, Index columns,
                           const TensorView<std::uint8_t, 3>& out) {
  const Index channels = in.extent(2);
  const Index in_row_size = in.extent(1) * channels;
  const float scale = 1.0F / static_cast<float>(rows * columns);
  const bool rounds_half_up = rows == 2 && columns == 2 && channels != 2 && channels <= 4;
  PackedRows<std::uint8_t> source(in);
  auto sums = make_row<std::uint32_t>(in_row_size);
  std::uint8_t* to = out.data();
  for (Index y = 0; y < out.extent(0); ++y) {
    std::fill(sums.begin(), sums.end(), 0U);
    for (Index k = 0; k < rows; ++k) {
      const std::uint8_t* row = source.row(y * rows + k);
      for (Index i = 0; i < in_row_size; ++i) sums[static_cast<std::size_t>(i)] += row[i];
    }
    for (Index x = 0; x < out.extent(1); ++x) {
      for (Index c = 0; c < channels; ++c) {
        const std::uint32_t* block = sums.data() + x * columns * channels + c;
        std::int64_t sum = 0;
        for (Index k = 0; k < columns; ++k) sum += block[k * channels];
        *to++ = rounds_half_up ? static_cast<std::uint8_t>((sum + 2) >> 2)
                               : from_float<std::uint8_t>(static_cast<float>(sum) * scale);
      }
    }
  }
}

/// The float sums run along the rows of a block, in groups of four pixels as in OpenCV (whose
/// vector path for 2x2 blocks adds in pairs: the last bit may differ there).
inline void average_blocks(const TensorView<const float, 3>& in, Index rows, Index columns,
                           const TensorView<float, 3>& out) {
  const Index area = rows * columns;
  const Index grouped = area - area % 4;
  const float scale = 1.0F / static_cast<float>(area);
  const auto block_sum = [&](const float* block) {
    float sum = 0.0F;
    float group = 0.0F;
    for (Index k = 0; k < area; ++k) {
      const float value = block[(k / columns) * in.stride(0) + (k % columns) * in.stride(1)];
      if (k >= grouped) {
        sum += value;
        continue;
      }
      group = k % 4 == 0 ? value : group + value;
      if (k % 4 == 3) sum += group;
    }
    return sum;
  };
  float* to = out.data();
  for (Index y = 0; y < out.extent(0); ++y) {
    for (Index x = 0; x < out.extent(1); ++x) {
      for (Index c = 0; c < in.extent(2); ++c) {
        *to++ = scale * block_sum(in.data() + y * rows * in.stride(0) + x * columns * in.stride(1) +
                                  c * in.stride(2));
      }
    }
  }
}

using AreaCover = WindowTable<float>;

/// Slivers of at most a thousandth of a pixel are left out, as in OpenCV.
inline AreaCover make_area_cover(const AxisScale& scale) {
  constexpr double kSliver = 1e-3;
  AreaCover cover;
  cover.windows.reserve(static_cast<std::size_t>(scale.out_size));
  for (Index i = 0; i < scale.out_size; ++i) {
    const double begin = static_cast<double>(i) * scale.in_per_out;
    const double end = begin + scale.in_per_out;
    const double length = std::min(scale.in_per_out, static_cast<double>(scale.in_size) - begin);
    const Index last = std::min(static_cast<Index>(std::floor(end)), scale.in_size - 1);
    const Index whole = std::min(static_cast<Index>(std::ceil(begin)), last);
    const double before = static_cast<double>(whole) - begin;
    const double after = end - static_cast<double>(last);

    const auto weights = static_cast<Index>(cover.weights.size());
    const bool has_before = before > kSliver;
    if (has_before) cover.weights.push_back(static_cast<float>(before / length));
    for (Index k = whole; k < last; ++k) cover.weights.push_back(static_cast<float>(1.0 / length));
    if (after > kSliver) {
      const double covered = std::min(std::min(after, 1.0), length);
      cover.weights.push_back(static_cast<float>(covered / length));
    }
    cover.windows.push_back({has_before ? whole - 1 : whole,
                             static_cast<Index>(cover.weights.size()) - weights, weights});
  }
  return cover;
}

template <class T, class Channels>
void cover_row(const T* in, const AreaCover& cover, Channels channels, float* out) {
  const Index step = channels;
  for (const AreaCover::Window& window : cover.windows) {
    const float* weights = cover.weights.data() + window.weights;
    const T* pixel = in + window.first * step;
    for (Index c = 0; c < step; ++c) {
      float sum = 0.0F;
      for (Index k = 0; k < window.count; ++k) {
        sum += static_cast<float>(pixel[k * step + c]) * weights[k];
      }
      *out++ = sum;
    }
  }
}

/// Means weighted by covered area, in float: along each row, then down the rows.
template <class T>
void average_covered(const TensorView<const T, 3>& in, const AxisScale& row_scale,
                     const AxisScale& column_scale, const TensorView<T, 3>& out) {
  const Index channels = in.extent(2);
  const Index row_size = out.extent(1) * channels;
  const AreaCover rows = make_area_cover(row_scale);
  const AreaCover columns = make_area_cover(column_scale);
  PackedRows<T> source(in);
  auto covered = make_row<float>(row_size);
  auto sums = make_row<float>(row_size);
  Index held = -1;  // the row in `covered`; two output rows may share one
  T* to = out.data();
  for (const AreaCover::Window& window : rows.windows) {
    std::fill(sums.begin(), sums.end(), 0.0F);
    for (Index k = 0; k < window.count; ++k) {
      if (held != window.first + k) {
        held = window.first + k;
        const T* row = source.row(held);
        with_channels(channels,
                      [&](auto count) { cover_row(row, columns, count, covered.data()); });
      }
      const float weight = rows.weights[static_cast<std::size_t>(window.weights + k)];
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += weight * covered[i];
    }
    to = std::transform(sums.begin(), sums.end(), to, from_float<T>);
  }
}

template <class T>
Tensor<T, 3> resize_area(const TensorView<const T, 3>& image, ImageSize target) {
  require_resizable(image, target, "resize_area");
  if (image.extent(0) == target.height && image.extent(1) == target.width) {
    return Tensor<T, 3>(image);
  }
  const AxisScale rows(image.extent(0), target.height);
  const AxisScale columns(image.extent(1), target.width);
  Tensor<T, 3> result({target.height, target.width, image.extent(2)});
  if (rows.in_per_out < 1.0 || columns.in_per_out < 1.0) {
    interpolate_linear<T>(image, LinearPositions::pixel_areas, rows, columns, result);
  } else if (rows.whole_factor() && columns.whole_factor()) {
    average_blocks(image, *rows.whole_factor(), *columns.whole_factor(), result);
  } else {
    average_covered<T>(image, rows, columns, result);
  }
  return result;
}

}  // namespace detail

/// Resizes `[height, width, channels]` as OpenCV's `resize(..., INTER_AREA)` does: the mean over
/// the covered area when shrinking (exact for whole factors), and OpenCV's linear variant of it as
/// soon as either axis enlarges. Any strides and channel count. Throws `shape_mismatch` for an
/// empty image, `invalid_argument` for an impossible target.
inline Image resize_area(ImageView image, ImageSize target) {
  return detail::resize_area<std::uint8_t>(image, target);
}

/// The same for float pixels, without rounding.
inline Tensor<float, 3> resize_area(TensorView<const float, 3> image, ImageSize target) {
  return detail::resize_area<float>(image, target);
}

/// A mask [height, width] of 0 and 255 at another size: by area, then cut at the middle, as the
/// original prepares its masks.
inline Mask resize_mask(TensorView<const std::uint8_t, 2> mask, ImageSize target) {
  const Image resized = resize_area(mask.with_unit_axis(2), target);
  Mask result({target.height, target.width});
  std::transform(resized.elements().begin(), resized.elements().end(), result.data(),
                 [](std::uint8_t value) -> std::uint8_t { return value > 127 ? 255 : 0; });
  return result;
}

/// Resizes 8-bit `[height, width, channels]` as OpenCV's `resize(..., INTER_LINEAR)` does: two
/// neighbours per axis in 11-bit fixed point, no antialiasing; an exact halving of both axes is the
/// mean of 2x2 pixels. Any strides and channel count. Errors as `resize_area`.
inline Image resize_linear_u8(ImageView image, ImageSize target) {
  detail::require_resizable(image, target, "resize_linear_u8");
  if (image.extent(0) == target.height && image.extent(1) == target.width) return Image(image);
  if (image.extent(0) == 2 * target.height && image.extent(1) == 2 * target.width) {
    return resize_area(image, target);
  }
  Image result({target.height, target.width, image.extent(2)});
  detail::interpolate_linear<std::uint8_t>(image, detail::LinearPositions::pixel_centres,
                                           {image.extent(0), target.height},
                                           {image.extent(1), target.width}, result);
  return result;
}

}  // namespace promiseg

// Pixel values as a file holds them, and how they become the 8-bit images of the models.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <variant>
#include <vector>

#include "promiseg/core/error.hpp"
#include "promiseg/core/image.hpp"

namespace promiseg {

/// No reader accepts a picture of more pixels than this; it is checked before memory is taken.
inline constexpr Index kMaxImagePixels = Index{1} << 28;

/// A closed range of raw values: `low` and below becomes black, `high` and above white.
struct ValueRange {
  double low = 0;
  double high = 0;

  friend bool operator==(const ValueRange&, const ValueRange&) = default;
};

/// How raw values become 8 bits: a given range, or (empty) the one from the picture's own
/// percentiles, see `automatic_range`.
struct Window {
  std::optional<ValueRange> range;

  static Window automatic() { return {}; }

  /// Throws `invalid_argument` unless both are finite and low < high.
  static Window fixed(double low, double high) {
    require(std::isfinite(low) && std::isfinite(high) && low < high, ErrorCode::invalid_argument,
            "window: expected two finite numbers LO < HI, got ", low, " and ", high);
    return {ValueRange{low, high}};
  }

  friend bool operator==(const Window&, const Window&) = default;
};

/// A picture before it becomes 8 bits.
struct RawImage {
  /// `[height, width, 1 or 3]`: bytes for files of up to 8 bits (less than 8 are stretched to
  /// 0..255), floats in the file's own units for all others.
  std::variant<Image, Tensor<float, 3>> samples;
  int bits = 8;           ///< significant bits of a sample in the file
  bool inverted = false;  ///< the file means low values to be bright (MONOCHROME1, MINISWHITE)
  /// What applies when the user gives no window; none: 8-bit values are taken as they are.
  std::optional<Window> suggested_window;
  std::string format;  ///< "PNG", "JPEG", "TIFF", "DICOM" or "NIfTI"
  Index frames = 1;    ///< how many pictures the file holds; this is one of them

  Extents<3> extents() const {
    return std::visit([](const auto& values) { return values.extents(); }, samples);
  }
};

/// Reads "auto" or "LO,HI", as on a command line. Throws `invalid_argument`.
inline Window parse_window(std::string_view text) {
  if (text == "auto") return Window::automatic();
  const auto reject = [&] {
    fail(ErrorCode::invalid_argument, "window: expected \"auto\" or two numbers LO,HI with LO < HI",
         " (for example -160,240), got \"", text, '"');
  };
  const auto number = [&](std::string_view part) {
    const std::size_t begin = std::min(part.find_first_not_of(' '), part.size());
    part.remove_prefix(begin);
    part = part.substr(0, part.find_last_not_of(' ') + 1);
    double value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc{} || end != part.data() + part.size() || !std::isfinite(value)) reject();
    return value;
  };
  const std::size_t comma = text.find(',');
  if (comma == std::string_view::npos) reject();
  const ValueRange range{number(text.substr(0, comma)), number(text.substr(comma + 1))};
  if (!(range.low < range.high)) reject();
  return {range};
}

/// The value below which `percent` (0..100) of the values lie, interpolated linearly between the
/// order statistics, as `numpy.percentile` does by default. Reorders `values`. Throws
/// `invalid_argument` if there are none.
template <class T>
double percentile(std::span<T> values, double percent) {
  require(!values.empty() && percent >= 0 && percent <= 100, ErrorCode::invalid_argument,
          "percentile: expected at least one value and a percentage of 0 to 100, got ",
          values.size(), " values and ", percent);
  const double position = static_cast<double>(values.size() - 1) * (percent / 100.0);
  const double whole = std::floor(position);
  const double part = position - whole;
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(whole);
  std::nth_element(values.begin(), at, values.end());
  const double below = static_cast<double>(*at);
  if (part == 0) return below;
  const double above = static_cast<double>(*std::min_element(at + 1, values.end()));
  const double step = above - below;
  return part < 0.5 ? below + step * part : above - step * (1.0 - part);
}

/// The range from the percentiles 0.5 and 99.5. Where these coincide (more than 99 % of one value:
/// a few bright spots on black) it is the smallest and the largest value. NaN and infinities do
/// not count.
template <class T>
ValueRange automatic_range(std::span<const T> values) {
  std::vector<T> finite(values.begin(), values.end());
  if constexpr (std::is_floating_point_v<T>) {
    std::erase_if(finite, [](T value) { return !std::isfinite(value); });
  }
  if (finite.empty()) return {};
  const ValueRange range{percentile(std::span(finite), 0.5), percentile(std::span(finite), 99.5)};
  if (range.low < range.high) return range;
  const auto [least, most] = std::minmax_element(finite.begin(), finite.end());
  return {static_cast<double>(*least), static_cast<double>(*most)};
}

/// clip((value - low) / (high - low), 0, 1) * 255, rounded to the nearest integer and from the
/// middle to the even one, like `numpy.rint`. In a range of one value, that value and all below
/// are 0 and all above 255 (DICOM's meaning of a window of width 1). NaN is 0.
inline std::uint8_t window_value(double value, const ValueRange& range) {
  if (!(value > range.low)) return 0;
  if (value >= range.high) return 255;
  const double scaled = (value - range.low) / (range.high - range.low) * 255.0;
  return static_cast<std::uint8_t>(std::nearbyint(scaled));
}

/// The 8-bit image `[height, width, 1 or 3]` of a picture: through `window` if there is one, else
/// through the file's `suggested_window`, else as it is. All channels share one window.
/// Where low means bright in the file, the result is inverted afterwards.
inline Image to_8bit(const RawImage& raw, const std::optional<Window>& window = std::nullopt) {
  std::optional<Window> chosen = window ? window : raw.suggested_window;
  if (!chosen && !std::holds_alternative<Image>(raw.samples)) chosen = Window::automatic();
  Image result(raw.extents());
  std::visit(
      [&](const auto& samples) {
        const auto values = samples.elements();
        if (!chosen) {
          std::transform(values.begin(), values.end(), result.data(),
                         [](auto value) { return static_cast<std::uint8_t>(value); });
          return;
        }
        const ValueRange range = chosen->range ? *chosen->range : automatic_range(values);
        std::transform(values.begin(), values.end(), result.data(),
                       [&](auto value) { return window_value(static_cast<double>(value), range); });
      },
      raw.samples);
  if (raw.inverted) {
    for (std::uint8_t& value : result.elements()) value = static_cast<std::uint8_t>(255 - value);
  }
  return result;
}

}  // namespace promiseg

// What the resizing rules share: argument checks, packed rows, and loops over a known channel
// count.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <vector>

#include "promiseg/core/image.hpp"

namespace promiseg::detail {

/// Longest side of an image to resize; keeps every 32-bit fixed-point sum of the rules in range.
inline constexpr Index kMaxResizeSide = Index{1} << 22;
inline constexpr Index kMaxResizeChannels = Index{1} << 16;

/// Throws `shape_mismatch` or `invalid_argument` unless `image` ([height, width, channels], on the
/// host) can be resized to `target`; `rule` names the function in the message.
template <class T>
void require_resizable(const TensorView<const T, 3>& image, ImageSize target,
                       std::string_view rule) {
  const auto is_side = [](Index side) { return side > 0 && side <= kMaxResizeSide; };
  require(is_side(image.extent(0)) && is_side(image.extent(1)) && image.extent(2) > 0 &&
              image.extent(2) <= kMaxResizeChannels,
          ErrorCode::shape_mismatch, rule, ": image: expected [height, width, channels] with 1 to ",
          kMaxResizeSide, " rows and columns and 1 to ", kMaxResizeChannels, " channels, got ",
          shape_text(image.extents()));
  require(is_side(target.height) && is_side(target.width), ErrorCode::invalid_argument, rule,
          ": target size: expected sides of 1 to ", kMaxResizeSide, " pixels, got ", target.height,
          " x ", target.width, " (height x width)");
  require(image.space() == MemorySpace::host, ErrorCode::invalid_argument, rule,
          ": image: expected host memory, got a view of device memory");
}

template <class T>
std::vector<T> make_row(Index length) {
  return std::vector<T>(static_cast<std::size_t>(length));
}

/// True if the pixels of a row of `[height, width, channels]` lie side by side.
template <class T>
bool has_packed_rows(const TensorView<T, 3>& image) {
  return (image.extent(2) == 1 || image.stride(2) == 1) &&
         (image.extent(1) == 1 || image.stride(1) == image.extent(2));
}

/// Reads the rows of an image of any strides as packed `[width, channels]`, copying only if needed.
template <class T>
class PackedRows {
 public:
  explicit PackedRows(const TensorView<const T, 3>& image) : image_(image) {
    if (!has_packed_rows(image)) row_ = make_row<T>(image.extent(1) * image.extent(2));
  }

  /// Valid until the next call.
  const T* row(Index y) {
    const T* from = image_.data() + y * image_.stride(0);
    if (row_.empty()) return from;
    T* to = row_.data();
    for (Index x = 0; x < image_.extent(1); ++x) {
      for (Index c = 0; c < image_.extent(2); ++c) {
        *to++ = from[x * image_.stride(1) + c * image_.stride(2)];
      }
    }
    return row_.data();
  }

 private:
  TensorView<const T, 3> image_;
  std::vector<T> row_;
};

/// For every output position of one axis the input range `[first, first + count)` that it is a
/// weighted sum of.
template <class Weight>
struct WindowTable {
  struct Window {
    Index first;
    Index count;
    Index weights;  ///< index of the window's first weight
  };
  std::vector<Window> windows;
  std::vector<Weight> weights;
};

/// Calls `kernel` with the channel count as a compile-time constant where it is 1 or 3.
template <class Kernel>
void with_channels(Index channels, Kernel&& kernel) {
  if (channels == 1) {
    kernel(std::integral_constant<Index, 1>{});
  } else if (channels == 3) {
    kernel(std::integral_constant<Index, 3>{});
  } else {
    kernel(channels);
  }
}

/// Rounds half to even and saturates, as OpenCV stores a float into 8 bits; float stays float.
template <class T>
T from_float(float value) {
  if constexpr (std::is_same_v<T, std::uint8_t>) {
    const long rounded = std::lrint(value);
    return static_cast<std::uint8_t>(rounded < 0 ? 0 : (rounded > 255 ? 255 : rounded));
  } else {
    return value;
  }
}

}  // namespace promiseg::detail

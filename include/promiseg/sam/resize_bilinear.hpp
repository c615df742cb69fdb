// Bilinear resize of float planes as PyTorch does it: mask logits to image size.
#pragma once

#include <algorithm>
#include <cmath>

#include "promiseg/sam/resize_interpolate.hpp"

namespace promiseg {
namespace detail {

/// Source positions `scale * (i + 0.5) - 0.5` in float, never below the first pixel's centre. They
/// are rounded once, as in PyTorch's builds for processors with fused multiply-add.
inline LinearTaps<float> make_bilinear_taps(Index in_size, Index out_size) {
  const float scale = static_cast<float>(in_size) / static_cast<float>(out_size);
  LinearTaps<float> taps;
  taps.reserve(static_cast<std::size_t>(out_size));
  for (Index i = 0; i < out_size; ++i) {
    const float position = std::max(std::fma(scale, static_cast<float>(i) + 0.5F, -0.5F), 0.0F);
    const Index first = std::min(static_cast<Index>(position), in_size - 1);
    const float weight = std::clamp(position - static_cast<float>(first), 0.0F, 1.0F);
    taps.push_back({first, std::min(first + 1, in_size - 1), 1.0F - weight, weight});
  }
  return taps;
}

}  // namespace detail

/// Resizes the plane `in` `[h, w]` into `out` `[H, W]` as `F.interpolate(mode="bilinear",
/// align_corners=False, antialias=False, size=(H, W))` does; the scale per axis is in / out. Any
/// strides, no overlap. Throws `shape_mismatch` or `invalid_argument` for an empty plane.
inline void resize_bilinear(TensorView<const float, 2> in, TensorView<float, 2> out) {
  const ImageSize target{out.extent(0), out.extent(1)};
  detail::require_resizable(in.with_unit_axis(2), target, "resize_bilinear");
  require(out.space() == MemorySpace::host, ErrorCode::invalid_argument,
          "resize_bilinear: out: expected host memory, got a view of device memory");
  detail::interpolate<float>(
      in.with_unit_axis(2), detail::make_bilinear_taps(in.extent(0), target.height),
      detail::make_bilinear_taps(in.extent(1), target.width), out.with_unit_axis(2));
}

}  // namespace promiseg

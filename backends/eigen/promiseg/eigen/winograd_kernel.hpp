// The inner loops of Winograd's convolution F(2x2, 3x3): four output pixels from a patch of four by
// four input pixels, with 16 multiplications a channel where the plain sum has 36 (Lavin and Gray,
// "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308).
//
//   out = A^T [ (G w G^T) * (B^T patch B) ] A
//
// In between lie 16 planes, each of them a matrix product over the channels.
#pragma once

#include "promiseg/eigen/words.hpp"

namespace promiseg::eigen {

inline constexpr Index kWinogradPlanes = 16;

/// Channels of one patch, on their way into packed rows of the planes.
struct WinogradPatch {
  const float* pixels[kWinogradPlanes] = {};  ///< [channels] each, row by row
  Index channels = 0;
  float* to = nullptr;  ///< [planes][words of channels]
  Index plane_stride = 0;
};

/// The sums of all planes, on their way to four output pixels.
struct WinogradPixels {
  const float* sums = nullptr;  ///< [planes][channels]
  Index plane_stride = 0;
  Index channels = 0;
  float* out[4] = {};             ///< [channels] each, row by row; null where there is no pixel
  const float* residual[4] = {};  ///< [channels] each, or null
  const float* bias = nullptr;    ///< [channels], or null
  float scale = 1.0F;
  Activation activation = Activation::none;
};

/// The gradient of four output pixels, on its way back into the planes.
struct WinogradSpread {
  const float* pixels[4] = {};  ///< [channels] each, row by row
  Index channels = 0;
  float* to = nullptr;  ///< [planes][channels]
  Index plane_stride = 0;
};

namespace simd {

/// B^T patch B of `count` channels from `c` on. `put_plane(plane, values)` takes the results.
template <int Lanes, class PutPlane>
PROMISEG_INLINE void transform_patch(const WinogradPatch& task, Index c, Index count,
                                     const PutPlane& put_plane) {
  Floats<Lanes> rows[4][4];
  PROMISEG_UNROLL
  for (int x = 0; x < 4; ++x) {
    Floats<Lanes> d[4];
    PROMISEG_UNROLL
    for (int y = 0; y < 4; ++y) fetch<Lanes>(task.pixels[4 * y + x] + c, count, d[y]);
    rows[0][x] = d[0] - d[2];
    rows[1][x] = d[1] + d[2];
    rows[2][x] = d[2] - d[1];
    rows[3][x] = d[1] - d[3];
  }
  PROMISEG_UNROLL
  for (int y = 0; y < 4; ++y) {
    const Floats<Lanes>* t = rows[y];
    put_plane(4 * y, t[0] - t[2]);
    put_plane(4 * y + 1, t[1] + t[2]);
    put_plane(4 * y + 2, t[2] - t[1]);
    put_plane(4 * y + 3, t[1] - t[3]);
  }
}

/// B^T patch B, packed.
template <class Words, int Lanes>
PROMISEG_INLINE void winograd_patch(const WinogradPatch& task) {
  if constexpr (Words::kValues == 1) {
    for_vectors<Lanes>(
        task.channels, [&](Index c, Index count) __attribute__((always_inline)) {
          transform_patch<Lanes>(
              task, c,
              count, [&](int plane, const Floats<Lanes>& values) __attribute__((always_inline)) {
                put<Lanes>(values, count, task.to + plane * task.plane_stride + c);
              });
        });
  } else {
    float planes[kWinogradPlanes][2 * Lanes];
    for (Index c = 0; c < task.channels; c += 2 * Lanes) {
      const Index both = task.channels - c < 2 * Lanes ? task.channels - c : 2 * Lanes;
      for (Index half = 0; half < both; half += Lanes) {
        const Index count = both - half < Lanes ? both - half : Lanes;
        transform_patch<Lanes>(
            task, c + half,
            count, [&](int plane, const Floats<Lanes>& values) __attribute__((always_inline)) {
              store<Lanes>(values, planes[plane] + half);
            });
      }
      for (Index plane = 0; plane < kWinogradPlanes; ++plane) {
        pack_row<Words, Lanes>(planes[plane], both, task.to + plane * task.plane_stride + c / 2);
      }
    }
  }
}

/// activation(scale * A^T sums A + bias + residual)
template <int Lanes>
PROMISEG_INLINE void winograd_pixels(const WinogradPixels& task) {
  for_vectors<Lanes>(
      task.channels, [&](Index c, Index count) __attribute__((always_inline)) {
        Floats<Lanes> rows[2][4];
        PROMISEG_UNROLL
        for (int x = 0; x < 4; ++x) {
          Floats<Lanes> m[4];
          PROMISEG_UNROLL
          for (int y = 0; y < 4; ++y) {
            fetch<Lanes>(task.sums + (4 * y + x) * task.plane_stride + c, count, m[y]);
          }
          rows[0][x] = m[0] + m[1] + m[2];
          rows[1][x] = m[1] - m[2] - m[3];
        }
        PROMISEG_UNROLL
        for (int i = 0; i < 4; ++i) {
          if (task.out[i] == nullptr) continue;
          const Floats<Lanes>* t = rows[i / 2];
          Floats<Lanes> value = i % 2 == 0 ? t[0] + t[1] + t[2] : t[1] - t[2] - t[3];
          value *= task.scale;
          Floats<Lanes> other;
          if (task.bias != nullptr) {
            fetch<Lanes>(task.bias + c, count, other);
            value += other;
          }
          if (task.residual[i] != nullptr) {
            fetch<Lanes>(task.residual[i] + c, count, other);
            value += other;
          }
          activate<Lanes>(task.activation, value);
          put<Lanes>(value, count, task.out[i] + c);
        }
      });
}

/// A gradient A^T
template <int Lanes>
PROMISEG_INLINE void winograd_spread(const WinogradSpread& task) {
  for_vectors<Lanes>(
      task.channels, [&](Index c, Index count) __attribute__((always_inline)) {
        Floats<Lanes> rows[4][2];
        PROMISEG_UNROLL
        for (int x = 0; x < 2; ++x) {
          Floats<Lanes> top;
          Floats<Lanes> bottom;
          fetch<Lanes>(task.pixels[x] + c, count, top);
          fetch<Lanes>(task.pixels[2 + x] + c, count, bottom);
          rows[0][x] = top;
          rows[1][x] = top + bottom;
          rows[2][x] = top - bottom;
          rows[3][x] = -bottom;
        }
        float* to = task.to + c;
        PROMISEG_UNROLL
        for (int y = 0; y < 4; ++y, to += 4 * task.plane_stride) {
          const Floats<Lanes>* t = rows[y];
          put<Lanes>(t[0], count, to);
          put<Lanes>(t[0] + t[1], count, to + task.plane_stride);
          put<Lanes>(t[0] - t[1], count, to + 2 * task.plane_stride);
          put<Lanes>(-t[1], count, to + 3 * task.plane_stride);
        }
      });
}

}  // namespace simd
}  // namespace promiseg::eigen

// The gradient of a 3x3 convolution's weights by Winograd's way, with 2.25 times fewer
// multiplications than the plain sum over pixels:
//
//   gradient of w = G^T [ sum over patches of (A g A^T) * (B^T patch B) ] G
//
// g is the gradient of the patch's four output pixels; G, A and B are those of winograd_kernel.hpp.
#pragma once

#include <algorithm>

#include "promiseg/core/thread_pool.hpp"
#include "promiseg/eigen/gradient_kernels.hpp"
#include "promiseg/eigen/product.hpp"
#include "promiseg/eigen/winograd.hpp"

namespace promiseg::eigen {

/// Operands of the gradient. The channels of both images lie side by side.
struct WinogradWeightGradient {
  TensorView<const float, 4> in;        ///< [N, H, W, C]
  TensorView<const float, 4> gradient;  ///< of the output, [N, h, w, O]
  Index padding = 0;
  float scale = 1.0F;
  TensorView<float, 2> weights;  ///< [O, 9 * C], grows
};

/// How the sum is cut up: about a thousand patches (one image at least) and some channels at a
/// time, so that their planes are small. Depends on shapes alone.
struct WinogradGradientPlan {
  explicit WinogradGradientPlan(const WinogradWeightGradient& task)
      : high(patches_along(task.gradient.extent(1))),
        wide(patches_along(task.gradient.extent(2))),
        outputs(task.gradient.extent(3)),
        channels(task.in.extent(3)),
        images(std::clamp<Index>(kPatches / std::max<Index>(1, high * wide), 1,
                                 std::max<Index>(1, task.in.extent(0)))),
        block(std::min(channels, kChannels)) {}

  static constexpr Index kPatches = 1024;
  static constexpr Index kChannels = 256;

  Index patches() const { return images * high * wide; }
  Index left_size() const { return kWinogradPlanes * patches() * outputs; }
  Index right_size() const { return kWinogradPlanes * patches() * block; }
  Index sums_size() const { return kWinogradPlanes * outputs * channels; }
  Index zeros_size() const { return std::max(outputs, channels); }

  Index high, wide;  ///< patches of an image
  Index outputs, channels;
  Index images;  ///< at a time
  Index block;   ///< channels at a time
};

/// True where it is the faster way: sums, inputs and outputs are long enough for the transforms.
inline bool winograd_gradient_pays(ConvGeometry geometry, const Extents<4>& gradient,
                                   Index channels) {
  constexpr Index kFewest = 32;
  constexpr Index kFewestPatches = 256;
  const Index patches = gradient[0] * patches_along(gradient[1]) * patches_along(gradient[2]);
  return geometry.kernel == 3 && geometry.stride == 1 && channels >= kFewest &&
         gradient[3] >= kFewest && patches >= kFewestPatches;
}

/// `memory` holds the planes of all threads.
inline void winograd_weight_gradient(const KernelTable& table, const GradientKernelTable& gradients,
                                     ThreadPool& pool, ThreadScratch* scratch, Scratch& memory,
                                     const WinogradWeightGradient& task) {
  const WinogradGradientPlan plan(task);
  float* left =
      memory.take(plan.left_size() + plan.right_size() + plan.sums_size() + plan.zeros_size());
  float* right = left + plan.left_size();
  float* const sums = right + plan.right_size();
  float* const zeros = sums + plan.sums_size();
  std::fill_n(zeros, plan.zeros_size(), 0.0F);
  const TensorView<float, 3> all_sums(sums, {kWinogradPlanes, plan.outputs, plan.channels});

  for (Index first = 0; first < task.in.extent(0); first += plan.images) {
    const Index images = std::min(plan.images, task.in.extent(0) - first);
    const Index patches = images * plan.high * plan.wide;
    // Calls `transform(item, y, x, patch)` for every patch, (y, x) being its first output pixel.
    const auto for_patches = [&](const auto& transform) {
      pool.parallel_for(images * plan.high, [&](Index row, int /*thread*/) {
        for (Index x = 0; x < plan.wide; ++x) {
          transform(first + row / plan.high, row % plan.high * 2, 2 * x, row * plan.wide + x);
        }
      });
    };
    for_patches([&](Index item, Index y, Index x, Index patch) {
      WinogradSpread spread;
      for (Index pixel = 0; pixel < 4; ++pixel) {
        spread.pixels[pixel] =
            pixel_or(zeros, task.gradient, item, y + pixel / 2, x + pixel % 2, 0);
      }
      spread.channels = plan.outputs;
      spread.to = left + patch * plan.outputs;
      spread.plane_stride = patches * plan.outputs;
      gradients.winograd_spread(spread);
    });
    const TensorView<const float, 3> left_rows(left, {kWinogradPlanes, patches, plan.outputs});
    for (Index channel = 0; channel < plan.channels; channel += plan.block) {
      const Index count = std::min(plan.block, plan.channels - channel);
      for_patches([&](Index item, Index y, Index x, Index patch) {
        WinogradPatch transform;
        set_pixels(transform, task.in, {item, y - task.padding, x - task.padding}, channel, zeros);
        transform.channels = count;
        transform.to = right + patch * count;
        transform.plane_stride = patches * count;
        table.fp32.winograd_patch(transform);
      });
      batched_product(table, table.fp32, pool, scratch, left_rows.permuted({0, 2, 1}),
                      TensorView<const float, 3>(right, {kWinogradPlanes, patches, count}), 1.0F,
                      first > 0, all_sums.slice(2, channel, count));
    }
  }

  pool.parallel_for(plan.outputs, [&](Index output, int /*thread*/) {
    for (Index tap = 0; tap < kWinogradTaps; ++tap) {
      for (Index plane = 0; plane < kWinogradPlanes; ++plane) {
        const float factor = winograd_weight_factor(plane, tap);
        if (factor == 0) continue;
        gradients.add_scaled(&all_sums(plane, output, 0), plan.channels, factor * task.scale,
                             &task.weights(output, tap * plan.channels));
      }
    }
  });
}

}  // namespace promiseg::eigen

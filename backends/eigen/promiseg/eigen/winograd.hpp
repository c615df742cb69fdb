// 3x3 convolutions of stride 1 with 2.25 times fewer multiplications; winograd_kernel.hpp has the
// formula.
#pragma once

#include <algorithm>

#include "promiseg/core/thread_pool.hpp"
#include "promiseg/eigen/gemm.hpp"
#include "promiseg/eigen/multiply_panels.hpp"
#include "promiseg/eigen/packed_matrix.hpp"
#include "promiseg/eigen/scratch.hpp"

namespace promiseg::eigen {

/// True where it is the faster way: both sums and outputs are long enough to pay for the
/// transforms. Layers of more than 256 outputs come late in a network, where images are small and
/// reading the weights, of which there are 16/9 times as many, takes the time.
inline bool winograd_pays(ConvGeometry geometry, Index outputs, Index channels) {
  constexpr Index kFewest = 32;
  constexpr Index kMostOutputs = 256;
  return geometry.kernel == 3 && geometry.stride == 1 && channels >= kFewest &&
         outputs >= kFewest && outputs <= kMostOutputs;
}

inline constexpr Index kWinogradTaps = 9;

/// How much a tap of the weights weighs in a plane of G w G^T.
inline float winograd_weight_factor(Index plane, Index tap) {
  constexpr float kG[4][3] = {{1, 0, 0}, {0.5F, 0.5F, 0.5F}, {0.5F, -0.5F, 0.5F}, {0, 0, 1}};
  return kG[plane / 4][tap / 3] * kG[plane % 4][tap % 3];
}

/// The pixel (y, x) of an image from `channel` on, or zeros outside it.
inline const float* pixel_or(const float* zeros, const TensorView<const float, 4>& image,
                             Index item, Index y, Index x, Index channel) {
  const bool inside = y >= 0 && y < image.extent(1) && x >= 0 && x < image.extent(2);
  return inside ? &image(item, y, x, channel) : zeros;
}

/// A pixel of an image.
struct WinogradPlace {
  Index item, y, x;
};

/// The patch whose first pixel is at `place`, from `channel` on.
inline void set_pixels(WinogradPatch& patch, const TensorView<const float, 4>& image,
                       WinogradPlace place, Index channel, const float* zeros) {
  for (Index i = 0; i < kWinogradPlanes; ++i) {
    patch.pixels[i] = pixel_or(zeros, image, place.item, place.y + i / 4, place.x + i % 4, channel);
  }
}

/// Patches along a side of the output: each makes two pixels.
constexpr Index patches_along(Index pixels) { return (pixels + 1) / 2; }

/// G w G^T of weights [outputs, 9 * channels], packed in 16 planes.
inline PackedMatrix pack_winograd(const ProductKernels& kernels, TensorView<const float, 2> weights,
                                  Index width, ThreadPool& pool, ThreadScratch* scratch) {
  const WeightShape shape{weights.extent(0), weights.extent(1) / kWinogradTaps, kWinogradPlanes};
  const auto transform = [&](Index plane, Index output, Index begin, Index count, float* line) {
    std::fill_n(line, count, 0.0F);
    for (Index tap = 0; tap < kWinogradTaps; ++tap) {
      const float factor = winograd_weight_factor(plane, tap);
      if (factor == 0) continue;
      for (Index i = 0; i < count; ++i) {
        line[i] += factor * weights(output, tap * shape.inputs + begin + i);
      }
    }
    return line;
  };
  return {kernels, shape, width, pool, scratch, transform};
}

/// How the work is cut up: blocks of patches by blocks of panels, each worked on by one thread.
/// Depends on shapes alone.
struct WinogradPlan {
  WinogradPlan(const KernelTable& table, const PackedMatrix& weights, const Extents<4>& out)
      : high(patches_along(out[1])),
        wide(patches_along(out[2])),
        patches(out[0] * high * wide),
        block_patches(std::min(table.tile_rows * kTilesAtOnce, round_up(patches, table.tile_rows))),
        patch_blocks((patches + block_patches - 1) / block_patches),
        panels(weights.panels()),
        column_blocks(std::clamp<Index>((kMinParts + patch_blocks - 1) / patch_blocks, 1, panels)),
        columns((panels + column_blocks - 1) / column_blocks * table.tile_columns) {}

  static constexpr Index kTilesAtOnce = 8;  // of rows: a plane of them stays in L2
  static constexpr Index kMinParts = 16;    // enough for many threads

  Index rows_size() const { return kWinogradPlanes * block_patches * kRowStride; }
  Index sums_size() const { return kWinogradPlanes * block_patches * columns; }

  Index high, wide;  ///< patches of an image
  Index patches;
  Index block_patches;
  Index patch_blocks;
  Index panels;
  Index column_blocks;
  Index columns;  ///< of a block, whole panels
};

/// Operands of the convolution; the output's and the residual's pixels lie side by side.
struct WinogradConv {
  TensorView<const float, 4> in;
  Index padding = 0;
  Extents<4> out_extents{};
  GemmOutput output;
};

/// One block of patches by one block of output channels.
class WinogradBlock {
 public:
  WinogradBlock(const KernelTable& table, const WinogradPlan& plan, const PackedMatrix& weights,
                const WinogradConv& conv, Index part)
      : table_(table),
        plan_(plan),
        weights_(weights),
        conv_(conv),
        first_(part / plan.column_blocks * plan.block_patches),
        count_(std::min(plan.block_patches, plan.patches - first_)),
        panels_(share_of(plan.panels, part % plan.column_blocks, plan.column_blocks)) {}

  void run(ThreadScratch& scratch) const {
    float* rows = scratch.rows.take(plan_.rows_size());
    float* sums = scratch.mixed.take(plan_.sums_size());
    const Index step = kRowWords * weights_.kernels().values_per_word;
    float* zeros = scratch.line.take(step);
    std::fill_n(zeros, step, 0.0F);
    for (Index channel = 0; channel < weights_.inputs(); channel += step) {
      const Index depth = std::min(step, weights_.inputs() - channel);
      for (Index i = 0; i < count_; ++i) load(i, channel, depth, zeros, rows + i * kRowStride);
      for (Index plane = 0; plane < kWinogradPlanes; ++plane) {
        multiply(plane, channel, depth, rows, sums);
      }
    }
    for (Index i = 0; i < count_; ++i) store(i, sums + i * plan_.columns);
  }

 private:
  /// The first output pixel of a patch.
  WinogradPlace place(Index i) const {
    const Index patch = first_ + i;
    return {patch / (plan_.high * plan_.wide), patch / plan_.wide % plan_.high * 2,
            patch % plan_.wide * 2};
  }

  Index column_begin() const { return panels_.begin * table_.tile_columns; }
  Index column_end() const {
    return std::min(panels_.end * table_.tile_columns, weights_.outputs());
  }

  /// Some channels of a patch to one packed row of every plane.
  void load(Index i, Index channel, Index count, const float* zeros, float* to) const {
    const WinogradPlace at = place(i);
    WinogradPatch task;
    task.channels = count;
    task.to = to;
    task.plane_stride = plan_.block_patches * kRowStride;
    set_pixels(task, conv_.in, {at.item, at.y - conv_.padding, at.x - conv_.padding}, channel,
               zeros);
    weights_.kernels().winograd_patch(task);
  }

  /// Adds the products of some channels to the sums of a plane. Rows beyond the last patch hold
  /// whatever was there: their results are never stored.
  void multiply(Index plane, Index channel, Index depth, const float* rows, float* sums) const {
    GemmTile tile;
    tile.c = sums + plane * plan_.block_patches * plan_.columns;
    tile.c_stride = plan_.columns;
    tile.rows = count_;
    tile.columns = panels_.size() * table_.tile_columns;
    tile.first = channel == 0;
    multiply_panels(table_, weights_.kernels(),
                    {rows + plane * plan_.block_patches * kRowStride, plan_.block_patches},
                    weights_.kernels().words(depth), weights_.panel(column_begin(), channel, plane),
                    weights_.panel_size(), tile);
  }

  void store(Index i, const float* sums) const {
    const GemmOutput& output = conv_.output;
    const WinogradPlace at = place(i);
    const Index begin = column_begin();
    WinogradPixels task;
    task.sums = sums;
    task.plane_stride = plan_.block_patches * plan_.columns;
    task.channels = column_end() - begin;
    for (Index pixel = 0; pixel < 4; ++pixel) {
      const Index y = at.y + pixel / 2;
      const Index x = at.x + pixel % 2;
      if (y >= conv_.out_extents[1] || x >= conv_.out_extents[2]) continue;
      const Index row = (at.item * conv_.out_extents[1] + y) * conv_.out_extents[2] + x;
      task.out[pixel] = output.out + row * output.stride + begin;
      if (output.residual != nullptr) {
        task.residual[pixel] = output.residual + row * output.residual_stride + begin;
      }
    }
    task.bias = output.bias != nullptr ? output.bias + begin : nullptr;
    task.scale = output.scale;
    task.activation = output.activation;
    table_.winograd_pixels(task);
  }

  const KernelTable& table_;
  const WinogradPlan& plan_;
  const PackedMatrix& weights_;
  const WinogradConv& conv_;
  Index first_, count_;
  IndexRange panels_;
};

/// The convolution of an image whose channels lie side by side by weights of `pack_winograd`.
inline void winograd_conv2d(const KernelTable& table, ThreadPool& pool, ThreadScratch* scratch,
                            const PackedMatrix& weights, const WinogradConv& conv) {
  if (element_count(conv.out_extents) == 0) return;
  const WinogradPlan plan(table, weights, conv.out_extents);
  reserve(scratch, pool.size(),
          {{&ThreadScratch::rows, plan.rows_size()},
           {&ThreadScratch::mixed, plan.sums_size()},
           {&ThreadScratch::line, kRowWords * weights.kernels().values_per_word}});
  pool.parallel_for(plan.patch_blocks * plan.column_blocks, [&](Index part, int thread) {
    WinogradBlock(table, plan, weights, conv, part).run(scratch[thread]);
  });
}

}  // namespace promiseg::eigen

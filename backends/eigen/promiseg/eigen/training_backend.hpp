// The CPU backend with the gradients that training needs.
#pragma once

#include <Eigen/Core>
#include <array>
#include <cmath>
#include <vector>

#include "promiseg/backend/training_concept.hpp"
#include "promiseg/eigen/backend.hpp"
#include "promiseg/eigen/gradient_kernels.hpp"
#include "promiseg/eigen/winograd_gradient.hpp"

namespace promiseg {

/// Models `TrainingBackend` on host memory. Sums over rows are made in blocks that depend on the
/// shapes alone, so results do not depend on the number of threads.
class EigenTrainingBackend : public EigenBackend {
 public:
  /// Throws as `EigenBackend`, and `unsupported` for another precision than fp32.
  explicit EigenTrainingBackend(const EigenOptions& options = {})
      : EigenBackend(options), gradients_(&eigen::gradient_kernels_for(instruction_set())) {
    require(precision() == Precision::fp32, ErrorCode::unsupported,
            "training: expected precision fp32, got ", to_string(precision()));
  }

  void fill(float value, TensorView<float, 4> to) {
    for_lines(to, [&](Index n, Index y, Index x) {
      if (to.stride(3) == 1) {
        std::fill_n(&to(n, y, x, 0), to.extent(3), value);
      } else {
        line(to, n, y, x).setConstant(value);
      }
    });
  }

  void accumulate(TensorView<const float, 4> from, float scale, TensorView<float, 4> to) {
    require_shape(from, to.extents(), "accumulate: source");
    if (to.empty()) return;
    const bool sums_lines = to.stride(3) == 0 && to.extent(3) > 1;
    bool sums = sums_lines;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      sums = sums || (to.stride(axis) == 0 && to.extent(axis) > 1);
    }
    if (!sums) {
      const bool dense = from.stride(3) == 1 && to.stride(3) == 1;
      for_lines(to, [&](Index n, Index y, Index x) {
        if (dense) {
          gradients_->add_scaled(&from(n, y, x, 0), to.extent(3), scale, &to(n, y, x, 0));
        } else {
          line(to, n, y, x) += scale * line(from, n, y, x);
        }
      });
    } else if (sums_lines) {
      accumulate_line_sums(from, scale, to);
    } else {
      accumulate_sums(from, scale, to);
    }
  }

  void activate(TensorView<const float, 1> in, Activation activation, TensorView<float, 1> out) {
    require_shape(in, out.extents(), "activate: input");
    require_contiguous(in, "activate: input");
    require_contiguous(out, "activate: output");
    for_row_blocks(in.extent(0), kLineElements, [&](Index begin, Index count) {
      gradients_->activate(in.data() + begin, count, activation, out.data() + begin);
    });
  }

  void activation_gradient(TensorView<const float, 1> in, Activation activation,
                           TensorView<float, 1> gradient) {
    require_shape(in, gradient.extents(), "activation_gradient: input");
    require_contiguous(in, "activation_gradient: input");
    require_contiguous(gradient, "activation_gradient: gradient");
    for_row_blocks(in.extent(0), kLineElements, [&](Index begin, Index count) {
      gradients_->activation_gradient(in.data() + begin, count, activation,
                                      gradient.data() + begin);
    });
  }

  void accumulate_batched_gemm(TensorView<const float, 3> a, TensorView<const float, 3> b,
                               float scale, TensorView<float, 3> out) {
    require_batched_gemm(a, b, out);
    for (std::size_t axis = 0; axis < 3; ++axis) {
      require(out.stride(axis) != 0 || out.extent(axis) == 1, ErrorCode::shape_mismatch,
              "accumulate_batched_gemm: the output must not be broadcast");
    }
    multiply(a, b, scale, true, out);
  }

  void conv2d_weight_gradient(TensorView<const float, 4> in, ConvGeometry geometry,
                              TensorView<const float, 4> gradient, float scale,
                              TensorView<float, 2> weights) {
    require_unit_columns(in, "conv2d_weight_gradient: input");
    require_contiguous(gradient, "conv2d_weight_gradient: gradient");
    require_contiguous(weights, "conv2d_weight_gradient: weights");
    const eigen::Patches patches(in, geometry, {gradient.extent(1), gradient.extent(2)});
    require_shape(weights, Extents<2>{gradient.extent(3), patches.columns()},
                  "conv2d_weight_gradient: weights");
    require_gradient_of(in, geometry, gradient, "conv2d_weight_gradient");
    if (eigen::winograd_gradient_pays(geometry, gradient.extents(), in.extent(3))) {
      eigen::winograd_weight_gradient(*kernels_, *gradients_, *pool_, scratch_.data(), memory_,
                                      {in, gradient, geometry.padding, scale, weights});
      return;
    }
    const eigen::ProductShape shape{weights.extent(0), weights.extent(1), patches.rows()};
    const eigen::ProductBlocks blocks(*kernels_, shape);
    blocks.reserve_for(*products_, shape, threads(), scratch_.data());
    const auto pack_patches = [&](Index first, Index count, Index begin, Index depth, float* to) {
      for (Index pixel = begin; pixel < begin + depth; ++pixel, to += kernels_->tile_columns) {
        patches.copy(pixel, first, count, to);
        std::fill(to + count, to + kernels_->tile_columns, 0.0F);
      }
    };
    const auto rows = gradient.reshaped(Extents<2>{shape.depth, shape.rows});
    eigen::GemmOutput output;
    output.out = weights.data();
    output.stride = weights.stride(0);
    output.scale = scale;
    pool_->parallel_for(blocks.count(), [&](Index block, int thread) {
      eigen::product_block(*kernels_, *products_, shape, blocks, block,
                           scratch_[static_cast<std::size_t>(thread)],
                           eigen::rows_of(rows.permuted({1, 0})), pack_patches, true, output);
    });
  }

  void depthwise_conv2d_gradient(TensorView<const float, 4> in, TensorView<const float, 3> weights,
                                 ConvGeometry geometry, TensorView<const float, 4> gradient,
                                 TensorView<float, 4> in_gradient,
                                 TensorView<float, 3> weight_gradient) {
    require_contiguous(gradient, "depthwise_conv2d_gradient: gradient");
    require_gradient_of(in, geometry, gradient, "depthwise_conv2d_gradient");
    require_shape(weights, Extents<3>{geometry.kernel, geometry.kernel, in.extent(3)},
                  "depthwise_conv2d_gradient: weights");
    // Channels are independent, so each block of them belongs to one part of the work.
    constexpr Index kChannels = 16;
    const Index channels = in.extent(3);
    const Index items = in_gradient.data() != nullptr ? in.extent(0) : 0;
    const Index blocks = (channels + kChannels - 1) / kChannels;
    const auto for_taps = [&](Index n, Index block, const auto& body) {
      const Index first = block * kChannels;
      const Index count = std::min(kChannels, channels - first);
      for (Index y = 0; y < gradient.extent(1); ++y) {
        for (Index x = 0; x < gradient.extent(2); ++x) {
          for (Index tap = 0; tap < geometry.kernel * geometry.kernel; ++tap) {
            const Index ky = tap / geometry.kernel;
            const Index kx = tap % geometry.kernel;
            const Index iy = y * geometry.stride + ky - geometry.padding;
            const Index ix = x * geometry.stride + kx - geometry.padding;
            if (iy < 0 || iy >= in.extent(1) || ix < 0 || ix >= in.extent(2)) continue;
            for (Index c = first; c < first + count; ++c) body(n, y, x, ky, kx, iy, ix, c);
          }
        }
      }
    };
    pool_->parallel_for(items * blocks, [&](Index part, int /*thread*/) {
      for_taps(part / blocks, part % blocks,
               [&](Index n, Index y, Index x, Index ky, Index kx, Index iy, Index ix, Index c) {
                 in_gradient(n, iy, ix, c) += gradient(n, y, x, c) * weights(ky, kx, c);
               });
    });
    if (weight_gradient.data() == nullptr) return;
    pool_->parallel_for(blocks, [&](Index block, int /*thread*/) {
      for (Index item = 0; item < in.extent(0); ++item) {
        for_taps(item, block,
                 [&](Index n, Index y, Index x, Index ky, Index kx, Index iy, Index ix, Index c) {
                   weight_gradient(ky, kx, c) += gradient(n, y, x, c) * in(n, iy, ix, c);
                 });
      }
    });
  }

  void layer_norm_gradient(TensorView<const float, 2> in, TensorView<const float, 1> gamma,
                           float epsilon, TensorView<const float, 2> gradient,
                           TensorView<float, 2> in_gradient, TensorView<float, 1> gamma_gradient,
                           TensorView<float, 1> beta_gradient) {
    require_shape(in, gradient.extents(), "layer_norm_gradient: input");
    require_contiguous(in, "layer_norm_gradient: input");
    require_contiguous(gradient, "layer_norm_gradient: gradient");
    require(in_gradient.data() == nullptr || in_gradient.is_contiguous(), ErrorCode::shape_mismatch,
            "layer_norm_gradient: input gradient: must be contiguous");
    const Index channels = in.extent(1);
    const bool wants_gamma = gamma_gradient.data() != nullptr;
    const bool wants_beta = beta_gradient.data() != nullptr;
    const Index wanted = (wants_gamma ? channels : 0) + (wants_beta ? channels : 0);
    const RowSums sums = sum_rows(in.extent(0), wanted, [&](Index begin, Index count, float* to) {
      eigen::NormGradientRows task;
      task.in = in.data() + begin * channels;
      task.gradient = gradient.data() + begin * channels;
      task.in_gradient =
          in_gradient.data() != nullptr ? in_gradient.data() + begin * channels : nullptr;
      task.rows = count;
      task.channels = channels;
      task.gamma = gamma.data();
      task.epsilon = epsilon;
      task.gamma_sums = wants_gamma ? to : nullptr;
      task.beta_sums = wants_beta ? to + (wants_gamma ? channels : 0) : nullptr;
      gradients_->norm_gradient_rows(task);
    });
    if (wants_gamma) add_sums(sums, 0, gamma_gradient);
    if (wants_beta) add_sums(sums, wants_gamma ? channels : 0, beta_gradient);
  }

  void softmax_gradient(TensorView<const float, 2> out, TensorView<float, 2> gradient) {
    require_shape(out, gradient.extents(), "softmax_gradient: output");
    require_unit_columns(out, "softmax_gradient: output");
    require_unit_columns(gradient, "softmax_gradient: gradient");
    constexpr Index kRows = 16;
    for_row_blocks(out.extent(0), kRows, [&](Index begin, Index count) {
      for (Index row = begin; row < begin + count; ++row) {
        gradients_->softmax_gradient_row(&out(row, 0), out.extent(1), &gradient(row, 0));
      }
    });
  }

  void max_pool2d_gradient(TensorView<const float, 4> in, ConvGeometry geometry,
                           TensorView<const float, 4> gradient, TensorView<float, 4> in_gradient) {
    require_gradient_of(in, geometry, gradient, "max_pool2d_gradient");
    require_shape(in_gradient, in.extents(), "max_pool2d_gradient: input gradient");
    pool_->parallel_for(gradient.extent(0), [&](Index n, int /*thread*/) {
      for (Index y = 0; y < gradient.extent(1); ++y) {
        for (Index x = 0; x < gradient.extent(2); ++x) {
          pool_gradient_pixel(in, geometry, gradient, {n, y, x}, in_gradient);
        }
      }
    });
  }

  void batch_moments(TensorView<const float, 2> in, const BatchMoments& moments) {
    require_contiguous(in, "batch_moments: input");
    const Index channels = in.extent(1);
    const double rows = static_cast<double>(in.extent(0));
    const auto row_of = [&](Index m) { return dense_row(in, m); };
    const RowSums sums = sum_rows(in.extent(0), channels, [&](Index begin, Index count, float* to) {
      for (Index m = begin; m < begin + count; ++m) dense_row(to, channels) += row_of(m);
    });
    for (Index c = 0; c < channels; ++c) {
      moments.mean(c) = static_cast<float>(sums[static_cast<std::size_t>(c)] / rows);
    }
    const Eigen::Map<const Eigen::ArrayXf> mean(moments.mean.data(), channels);
    const RowSums squares =
        sum_rows(in.extent(0), channels, [&](Index begin, Index count, float* to) {
          for (Index m = begin; m < begin + count; ++m) {
            dense_row(to, channels) += (row_of(m) - mean).square();
          }
        });
    for (Index c = 0; c < channels; ++c) {
      moments.variance(c) = static_cast<float>(squares[static_cast<std::size_t>(c)] / rows);
    }
  }

  void batch_norm(TensorView<const float, 2> in, TensorView<const float, 1> gamma,
                  TensorView<const float, 1> beta, const BatchMoments& moments, float epsilon,
                  TensorView<float, 2> out) {
    require_shape(in, out.extents(), "batch_norm: input");
    require_contiguous(in, "batch_norm: input");
    require_contiguous(out, "batch_norm: output");
    const Index channels = in.extent(1);
    const Eigen::ArrayXf scale = row(gamma) * inverse_deviation(moments, epsilon);
    for_row_blocks(in.extent(0), kSumRows, [&](Index begin, Index count) {
      for (Index m = begin; m < begin + count; ++m) {
        dense_row(out.data() + m * channels, channels) =
            (dense_row(in, m) - row(moments.mean)) * scale + row(beta);
      }
    });
  }

  void batch_norm_gradient(TensorView<const float, 2> in, TensorView<const float, 1> gamma,
                           const BatchMoments& moments, float epsilon, bool own_moments,
                           TensorView<const float, 2> gradient, TensorView<float, 2> in_gradient,
                           TensorView<float, 1> gamma_gradient,
                           TensorView<float, 1> beta_gradient) {
    require_shape(in, gradient.extents(), "batch_norm_gradient: input");
    require_contiguous(in, "batch_norm_gradient: input");
    require_contiguous(gradient, "batch_norm_gradient: gradient");
    const Index channels = in.extent(1);
    const Eigen::ArrayXf inverse = inverse_deviation(moments, epsilon);
    const Eigen::ArrayXf mean = row(moments.mean);
    const RowSums sums =
        sum_rows(in.extent(0), 2 * channels, [&](Index begin, Index count, float* to) {
          for (Index m = begin; m < begin + count; ++m) {
            dense_row(to, channels) += dense_row(gradient, m);
            dense_row(to + channels, channels) +=
                dense_row(gradient, m) * (dense_row(in, m) - mean) * inverse;
          }
        });
    if (beta_gradient.data() != nullptr) add_sums(sums, 0, beta_gradient);
    if (gamma_gradient.data() != nullptr) add_sums(sums, channels, gamma_gradient);
    if (in_gradient.data() == nullptr) return;
    require_contiguous(in_gradient, "batch_norm_gradient: input gradient");
    Eigen::ArrayXf sum = Eigen::ArrayXf::Zero(channels);
    Eigen::ArrayXf projected = Eigen::ArrayXf::Zero(channels);
    for (Index c = 0; c < channels && own_moments; ++c) {
      const double rows = static_cast<double>(in.extent(0));
      sum[c] = static_cast<float>(sums[static_cast<std::size_t>(c)] / rows);
      projected[c] = static_cast<float>(sums[static_cast<std::size_t>(channels + c)] / rows);
    }
    const Eigen::ArrayXf scale = row(gamma) * inverse;
    for_row_blocks(in.extent(0), kSumRows, [&](Index begin, Index count) {
      for (Index m = begin; m < begin + count; ++m) {
        dense_row(in_gradient.data() + m * channels, channels) +=
            scale *
            (dense_row(gradient, m) - sum - (dense_row(in, m) - mean) * inverse * projected);
      }
    });
  }

 private:
  using RowSums = std::vector<double>;

  /// Throws unless the gradient has the images, height and width of a convolution's output.
  static void require_gradient_of(TensorView<const float, 4> in, ConvGeometry geometry,
                                  TensorView<const float, 4> gradient, std::string_view what) {
    const Extents<4> expected{in.extent(0), geometry.output(in.extent(1)),
                              geometry.output(in.extent(2)), gradient.extent(3)};
    require(gradient.extents() == expected, ErrorCode::shape_mismatch, what,
            ": gradient: expected shape ", shape_text(expected), ", got ",
            shape_text(gradient.extents()));
  }

  static constexpr Index kSumRows = 256;  // of one block of a sum over rows

  /// Sums over rows: `body(begin, count, to)` adds rows of one block to `to` [width], which starts
  /// at zero; the blocks' sums are added in order, in double. Also runs where nothing is summed.
  template <class Body>
  RowSums sum_rows(Index rows, Index width, const Body& body) {
    const Index blocks = (rows + kSumRows - 1) / kSumRows;
    float* partial = memory_.take(std::max<Index>(1, blocks * width));
    std::fill_n(partial, blocks * width, 0.0F);
    for_row_blocks(rows, kSumRows, [&](Index begin, Index count) {
      body(begin, count, partial + begin / kSumRows * width);
    });
    RowSums sums(static_cast<std::size_t>(width));
    for (Index block = 0; block < blocks; ++block) {
      for (Index i = 0; i < width; ++i) {
        sums[static_cast<std::size_t>(i)] += double{partial[block * width + i]};
      }
    }
    return sums;
  }

  static void add_sums(const RowSums& sums, Index first, TensorView<float, 1> to) {
    for (Index c = 0; c < to.extent(0); ++c) {
      to(c) += static_cast<float>(sums[static_cast<std::size_t>(first + c)]);
    }
  }

  /// Lines are added to the same line where an axis before the last is summed over.
  void accumulate_sums(TensorView<const float, 4> from, float scale, TensorView<float, 4> to) {
    const Index width = to.extent(3);
    Extents<3> kept{};
    Extents<3> summed{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const bool sums = to.stride(axis) == 0;
      kept[axis] = sums ? 1 : to.extent(axis);
      summed[axis] = sums ? to.extent(axis) : 1;
    }
    const bool dense = from.stride(3) == 1;
    for (Index target = 0; target < element_count(kept); ++target) {
      const Extents<3> at = position(target, kept);
      const RowSums sums =
          sum_rows(element_count(summed), width, [&](Index begin, Index count, float* partial) {
            for (Index i = begin; i < begin + count; ++i) {
              const Extents<3> step = position(i, summed);
              const Index n = at[0] + step[0];
              const Index y = at[1] + step[1];
              const Index x = at[2] + step[2];
              if (dense) {
                gradients_->add_scaled(&from(n, y, x, 0), width, 1.0F, partial);
              } else {
                dense_row(partial, width) += line(from, n, y, x);
              }
            }
          });
      for (Index c = 0; c < width; ++c) {
        to(at[0], at[1], at[2], c) +=
            static_cast<float>(double{scale} * sums[static_cast<std::size_t>(c)]);
      }
    }
  }

  /// The last axis is summed over, and perhaps others.
  void accumulate_line_sums(TensorView<const float, 4> from, float scale, TensorView<float, 4> to) {
    for (Index n = 0; n < to.extent(0); ++n) {
      for (Index y = 0; y < to.extent(1); ++y) {
        for (Index x = 0; x < to.extent(2); ++x) {
          to(n, y, x, 0) += scale * line(from, n, y, x).sum();
        }
      }
    }
  }

  static Extents<3> position(Index index, const Extents<3>& extents) {
    return {index / (extents[1] * extents[2]), index / extents[2] % extents[1], index % extents[2]};
  }

  static void pool_gradient_pixel(TensorView<const float, 4> in, ConvGeometry geometry,
                                  TensorView<const float, 4> gradient, const Extents<3>& at,
                                  TensorView<float, 4> in_gradient) {
    const auto [n, y, x] = at;
    const Index top = y * geometry.stride - geometry.padding;
    const Index left = x * geometry.stride - geometry.padding;
    const Index y0 = std::max<Index>(top, 0);
    const Index y1 = std::min(top + geometry.kernel, in.extent(1));
    const Index x0 = std::max<Index>(left, 0);
    const Index x1 = std::min(left + geometry.kernel, in.extent(2));
    for (Index c = 0; c < in.extent(3); ++c) {
      Extents<2> best{y0, x0};
      for (Index iy = y0; iy < y1; ++iy) {
        for (Index ix = x0; ix < x1; ++ix) {
          if (in(n, iy, ix, c) > in(n, best[0], best[1], c)) best = {iy, ix};
        }
      }
      in_gradient(n, best[0], best[1], c) += gradient(n, y, x, c);
    }
  }

  static Eigen::Map<const Eigen::ArrayXf> row(TensorView<const float, 1> vector) {
    return {vector.data(), vector.extent(0)};
  }
  static Eigen::Map<const Eigen::ArrayXf> dense_row(TensorView<const float, 2> matrix, Index m) {
    return {matrix.data() + m * matrix.extent(1), matrix.extent(1)};
  }
  static Eigen::Map<Eigen::ArrayXf> dense_row(float* data, Index size) { return {data, size}; }

  static Eigen::ArrayXf inverse_deviation(const BatchMoments& moments, float epsilon) {
    return (row(moments.variance) + epsilon).sqrt().inverse();
  }

  const eigen::GradientKernelTable* gradients_;
};

static_assert(TrainingBackend<EigenTrainingBackend>);

}  // namespace promiseg

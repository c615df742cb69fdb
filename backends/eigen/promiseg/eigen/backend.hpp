// The CPU backend: threads, packed kernels for the instruction set found at run time, and Eigen for
// what goes element by element.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "promiseg/backend/concept.hpp"
#include "promiseg/core/thread_pool.hpp"
#include "promiseg/eigen/gemm.hpp"
#include "promiseg/eigen/grid_attention.hpp"
#include "promiseg/eigen/kernels.hpp"
#include "promiseg/eigen/patches.hpp"
#include "promiseg/eigen/product.hpp"
#include "promiseg/eigen/winograd.hpp"

namespace promiseg {

/// How to make an `EigenBackend`.
struct EigenOptions {
  int threads = 0;                                 ///< 0: one for every processor
  std::optional<eigen::Isa> instruction_set = {};  ///< empty: `eigen::default_isa`
  Precision precision = Precision::fp32;           ///< of weights and of what they multiply
  bool computes = true;  ///< false: memory is taken and nothing computed, to learn how much it is
};

/// Bytes that an `EigenBackend` has handed out or holds.
struct EigenMemory {
  std::size_t packed = 0;     ///< weight matrices
  std::size_t allocated = 0;  ///< other weights, and the tensors of models
  std::size_t scratch = 0;    ///< its own working memory

  std::size_t total() const { return packed + allocated + scratch; }
};

/// Models `Backend` on host memory. One object serves one thread at a time; results do not depend
/// on the number of its worker threads.
class EigenBackend {
 public:
  using PackedMatrix = eigen::PackedMatrix;

  /// Throws `unsupported` for an instruction set that this processor does not have,
  /// `invalid_argument` if the environment names none.
  explicit EigenBackend(const EigenOptions& options = {})
      : pool_(std::make_unique<ThreadPool>(options.threads, options.computes)),
        scratch_(static_cast<std::size_t>(pool_->size())),
        kernels_(&eigen::kernels_for(checked(options.instruction_set))),
        products_(&kernels_->products(options.precision)) {}

  std::string_view name() const { return "eigen"; }
  MemorySpace space() const { return MemorySpace::host; }
  int threads() const { return pool_->size(); }
  eigen::Isa instruction_set() const { return kernels_->isa; }
  Precision precision() const { return products_->precision; }

  /// What was ever packed and allocated (models keep what they take), and the scratch memory.
  EigenMemory memory() const {
    EigenMemory use = memory_use_;
    use.scratch = memory_.bytes() + positions_[0].bytes() + positions_[1].bytes();
    for (const eigen::ThreadScratch& thread : scratch_) use.scratch += thread.bytes();
    return use;
  }

  Buffer allocate(std::size_t size) {
    memory_use_.allocated += size;
    return allocate_host(size);
  }

  void upload(TensorView<const float, 1> from, TensorView<float, 1> to) { copy_vector(from, to); }
  void download(TensorView<const float, 1> from, TensorView<float, 1> to) { copy_vector(from, to); }

  PackedMatrix pack(TensorView<const float, 2> weights) {
    return counted({*products_, weights, kernels_->tile_columns, *pool_, scratch_.data()});
  }

  PackedMatrix pack_conv(TensorView<const float, 2> weights, ConvGeometry geometry) {
    require_pack_conv(weights, geometry);
    const Index channels = weights.extent(1) / (geometry.kernel * geometry.kernel);
    if (!eigen::winograd_pays(geometry, weights.extent(0), channels)) {
      return pack(weights);
    }
    return counted(
        eigen::pack_winograd(*products_, weights, kernels_->tile_columns, *pool_, scratch_.data()));
  }

  void gemm(TensorView<const float, 2> in, const PackedMatrix& weights, const Epilogue<2>& epilogue,
            TensorView<float, 2> out) {
    require(weights.planes() == 1, ErrorCode::shape_mismatch,
            "gemm: the weights were packed for a convolution");
    require_gemm(in, weights.outputs(), weights.inputs(), epilogue, out);
    require_unit_columns(out, "gemm: output");
    const auto fetch_row = [&in](Index row, Index begin, Index count, float* line) {
      return eigen::gather(&in(row, begin), in.stride(1), count, line);
    };
    eigen::packed_gemm(*kernels_, *pool_, scratch_.data(), out.extent(0), weights, fetch_row,
                       gemm_output(epilogue, out));
  }

  void batched_gemm(TensorView<const float, 3> a, TensorView<const float, 3> b, float scale,
                    TensorView<float, 3> out) {
    require_batched_gemm(a, b, out);
    multiply(a, b, scale, false, out);
  }

  void conv2d(TensorView<const float, 4> in, const PackedMatrix& weights, ConvGeometry geometry,
              const Epilogue<4>& epilogue, TensorView<float, 4> out) {
    const bool winograd = weights.planes() > 1;
    const Index taps = winograd ? geometry.kernel * geometry.kernel : 1;
    require_conv2d(in, weights.outputs(), taps * weights.inputs(), geometry, epilogue, out);
    require_unit_columns(in, "conv2d: input");
    require_contiguous(out, "conv2d: output");
    const Extents<2> rows{out.size() / out.extent(3), out.extent(3)};
    const eigen::GemmOutput output = gemm_output(flatten(epilogue, rows), out.reshaped(rows));
    if (winograd) {
      require(geometry.kernel == 3 && geometry.stride == 1, ErrorCode::shape_mismatch,
              "conv2d: the weights were packed for kernel 3 and stride 1, got kernel ",
              geometry.kernel, " and stride ", geometry.stride);
      eigen::winograd_conv2d(*kernels_, *pool_, scratch_.data(), weights,
                             {in, geometry.padding, out.extents(), output});
      return;
    }
    const eigen::Patches patches(in, geometry, {out.extent(1), out.extent(2)});
    const auto fetch_row = [&](Index pixel, Index begin, Index count, float* line) {
      patches.copy(pixel, begin, count, line);
      return line;
    };
    eigen::packed_gemm(*kernels_, *pool_, scratch_.data(), rows[0], weights, fetch_row, output);
  }

  void conv_transpose2d(TensorView<const float, 4> in, const PackedMatrix& weights, Index kernel,
                        TensorView<const float, 1> bias, Activation activation,
                        TensorView<float, 4> out) {
    require_conv_transpose2d(in, weights.outputs(), weights.inputs(), kernel, bias, out);
    require_contiguous(in, "conv_transpose2d: input");
    // The product gives, for every input pixel, its kernel's worth of output pixels: [ky, kx, o].
    const Index pixels = in.size() / in.extent(3);
    float* products = memory_.take((pixels + 1) * weights.outputs());
    float* repeated_bias = products + pixels * weights.outputs();
    for (Index i = 0; i < weights.outputs(); ++i) {
      repeated_bias[i] = bias.data() != nullptr ? bias(i % out.extent(3)) : 0.0F;
    }
    gemm(in.reshaped(Extents<2>{pixels, in.extent(3)}), weights,
         {TensorView<const float, 1>(repeated_bias, {weights.outputs()}), {}, activation},
         TensorView<float, 2>(products, {pixels, weights.outputs()}));
    // A kernel row's [kx, o] is a run of one output row.
    const Index run = kernel * out.extent(3);
    for_row_blocks(out.extent(0) * out.extent(1), 1, [&](Index row, Index /*count*/) {
      const float* from =
          products + row / kernel * in.extent(2) * weights.outputs() + row % kernel * run;
      const auto to = out.select(0, row / out.extent(1)).select(0, row % out.extent(1));
      for (Index x = 0; x < in.extent(2); ++x, from += weights.outputs()) {
        for (Index kx = 0; kx < kernel; ++kx) {
          ConstLine source(from + kx * out.extent(3), out.extent(3), Stride(1));
          Line(&to(x * kernel + kx, 0), out.extent(3), Stride(to.stride(1))) = source;
        }
      }
    });
  }

  void depthwise_conv2d(TensorView<const float, 4> in, TensorView<const float, 3> weights,
                        ConvGeometry geometry, const Epilogue<4>& epilogue,
                        TensorView<float, 4> out) {
    require_depthwise_conv2d(in, weights, geometry, epilogue, out);
    require_contiguous(in, "depthwise_conv2d: input");
    require_contiguous(weights, "depthwise_conv2d: weights");
    require_contiguous(out, "depthwise_conv2d: output");
    require_unit_columns(epilogue.bias, "depthwise_conv2d: bias");
    if (epilogue.residual.data() != nullptr) {
      require_contiguous(epilogue.residual, "depthwise_conv2d: residual");
    }
    constexpr Index kMaxKernel = 16;
    require(geometry.kernel <= kMaxKernel, ErrorCode::unsupported,
            "depthwise_conv2d: kernel: expected at most ", kMaxKernel, ", got ", geometry.kernel);
    pool_->parallel_for(out.extent(0) * out.extent(1), [&](Index row, int /*thread*/) {
      const Index item = row / out.extent(1);
      const Index y = row % out.extent(1);
      const float* input_rows[kMaxKernel];
      for (Index ky = 0; ky < geometry.kernel; ++ky) {
        const Index iy = y * geometry.stride + ky - geometry.padding;
        input_rows[ky] = iy >= 0 && iy < in.extent(1) ? &in(item, iy, 0, 0) : nullptr;
      }
      eigen::DepthwiseRow task;
      task.rows = input_rows;
      task.weights = weights.data();
      task.bias = epilogue.bias.data();
      task.residual =
          epilogue.residual.data() != nullptr ? &epilogue.residual(item, y, 0, 0) : nullptr;
      task.out = &out(item, y, 0, 0);
      task.channels = in.extent(3);
      task.in_width = in.extent(2);
      task.out_width = out.extent(2);
      task.geometry = geometry;
      task.scale = epilogue.scale;
      task.activation = epilogue.activation;
      kernels_->depthwise_row(task);
    });
  }

  void layer_norm(TensorView<const float, 2> in, TensorView<const float, 1> gamma,
                  TensorView<const float, 1> beta, float epsilon, Activation activation,
                  TensorView<float, 2> out) {
    require_layer_norm(in, gamma, beta, out);
    require_unit_columns(in, "layer_norm: input");
    require_unit_columns(out, "layer_norm: output");
    require_unit_columns(gamma, "layer_norm: gamma");
    require_unit_columns(beta, "layer_norm: beta");
    constexpr Index kRows = 64;
    for_row_blocks(in.extent(0), kRows, [&](Index begin, Index count) {
      eigen::NormRows task;
      task.in = in.data() + begin * in.stride(0);
      task.out = out.data() + begin * out.stride(0);
      task.rows = count;
      task.channels = in.extent(1);
      task.in_stride = in.stride(0);
      task.out_stride = out.stride(0);
      task.gamma = gamma.data();
      task.beta = beta.data();
      task.epsilon = epsilon;
      task.activation = activation;
      kernels_->norm_rows(task);
    });
  }

  void max_pool2d(TensorView<const float, 4> in, ConvGeometry geometry, TensorView<float, 4> out) {
    require_max_pool2d(in, geometry, out);
    for_lines(out, [&](Index n, Index y, Index x) {
      Line target = line(out, n, y, x);
      target.setConstant(-std::numeric_limits<float>::infinity());
      const Index top = y * geometry.stride - geometry.padding;
      const Index left = x * geometry.stride - geometry.padding;
      for (Index iy = std::max<Index>(top, 0); iy < std::min(top + geometry.kernel, in.extent(1));
           ++iy) {
        for (Index ix = std::max<Index>(left, 0);
             ix < std::min(left + geometry.kernel, in.extent(2)); ++ix) {
          target = target.max(line(in, n, iy, ix));
        }
      }
    });
  }

  void mean_pixels(TensorView<const float, 4> in, TensorView<float, 2> out) {
    require_mean_pixels(in, out);
    eigen::reserve(scratch_.data(), threads(), {{&eigen::ThreadScratch::line, in.extent(3)}});
    pool_->parallel_for(in.extent(0), [&](Index n, int thread) {
      // Rows are summed on their own first: long sums of floats lose digits.
      float* sums = scratch_[static_cast<std::size_t>(thread)].line.take(in.extent(3));
      Line row(sums, in.extent(3), Stride(1));
      Line total(&out(n, 0), out.extent(1), Stride(out.stride(1)));
      total.setZero();
      for (Index y = 0; y < in.extent(1); ++y) {
        row.setZero();
        for (Index x = 0; x < in.extent(2); ++x) row += line(in, n, y, x);
        total += row;
      }
      total /= static_cast<float>(in.extent(1) * in.extent(2));
    });
  }

  void softmax(TensorView<float, 2> rows) {
    require_unit_columns(rows, "softmax: rows");
    constexpr Index kRows = 16;
    for_row_blocks(rows.extent(0), kRows, [&](Index begin, Index count) {
      for (Index row = begin; row < begin + count; ++row) {
        kernels_->softmax_row(&rows(row, 0), rows.extent(1));
      }
    });
  }

  void add(TensorView<const float, 4> a, TensorView<const float, 4> b, TensorView<float, 4> out) {
    require_shape(a, out.extents(), "add: a");
    require_shape(b, out.extents(), "add: b");
    const bool dense = a.stride(3) == 1 && b.stride(3) == 1 && out.stride(3) == 1;
    for_lines(out, [&](Index n, Index y, Index x) {
      if (dense) {
        dense_line(out, n, y, x) = dense_line(a, n, y, x) + dense_line(b, n, y, x);
      } else {
        line(out, n, y, x) = line(a, n, y, x) + line(b, n, y, x);
      }
    });
  }

  void copy(TensorView<const float, 4> from, TensorView<float, 4> to) {
    require_shape(from, to.extents(), "copy: source");
    const bool dense = from.stride(3) == 1 && to.stride(3) == 1;
    for_lines(to, [&](Index n, Index y, Index x) {
      if (dense) {
        std::copy_n(&from(n, y, x, 0), to.extent(3), &to(n, y, x, 0));
      } else {
        line(to, n, y, x) = line(from, n, y, x);
      }
    });
  }

  void grid_attention(TensorView<const float, 4> q, TensorView<const float, 4> k,
                      TensorView<const float, 4> v, const GridAttention& attention,
                      TensorView<float, 4> out) {
    require_grid_attention(q, k, v, attention, out);
    require_unit_columns(attention.bias, "grid_attention: bias");
    eigen::grid_attention(*kernels_, *products_, *pool_, scratch_.data(), positions_,
                          {q, k, v, out, &attention});
  }

  void attention(TensorView<const float, 4> q, TensorView<const float, 4> k,
                 TensorView<const float, 4> v, float scale, TensorView<float, 4> out) {
    require_attention(q, k, v, out);
    eigen::set_attention(*kernels_, *products_, *pool_, scratch_.data(), {q, k, v, out, scale});
  }

 protected:  // for the gradients of training_backend.hpp
  using Stride = Eigen::InnerStride<>;
  using Line = Eigen::Map<Eigen::ArrayXf, Eigen::Unaligned, Stride>;
  using ConstLine = Eigen::Map<const Eigen::ArrayXf, Eigen::Unaligned, Stride>;

  static eigen::Isa checked(std::optional<eigen::Isa> wanted) {
    const eigen::Isa isa = wanted.has_value() ? *wanted : eigen::default_isa();
    require(eigen::is_available(isa), ErrorCode::unsupported, "instruction set ", to_string(isa),
            ": this processor does not have it");
    return isa;
  }

  PackedMatrix counted(PackedMatrix packed) {
    memory_use_.packed += packed.bytes();
    return packed;
  }

  static void copy_vector(TensorView<const float, 1> from, TensorView<float, 1> to) {
    require_shape(from, to.extents(), "upload or download: source");
    ConstLine source(from.data(), from.extent(0), Stride(from.stride(0)));
    Line(to.data(), to.extent(0), Stride(to.stride(0))) = source;
  }

  /// An empty view passes.
  template <class T, std::size_t Rank>
  static void require_unit_columns(const TensorView<T, Rank>& view, std::string_view what) {
    require(view.data() == nullptr || view.stride(Rank - 1) == 1 || view.extent(Rank - 1) == 1,
            ErrorCode::shape_mismatch, what, ": its last axis must be contiguous");
  }

  template <class T, std::size_t Rank>
  static void require_contiguous(const TensorView<T, Rank>& view, std::string_view what) {
    require(view.is_contiguous(), ErrorCode::shape_mismatch, what, ": must be contiguous");
  }

  static Epilogue<2> flatten(const Epilogue<4>& epilogue, const Extents<2>& rows) {
    Epilogue<2> flat{epilogue.bias, {}, epilogue.activation, epilogue.scale};
    if (epilogue.residual.data() != nullptr) flat.residual = epilogue.residual.reshaped(rows);
    return flat;
  }

  static eigen::GemmOutput gemm_output(const Epilogue<2>& epilogue, TensorView<float, 2> out) {
    require_unit_columns(epilogue.bias, "gemm: bias");
    require_unit_columns(epilogue.residual, "gemm: residual");
    return {
        out.data(),           out.stride(0),  epilogue.residual.data(), epilogue.residual.stride(0),
        epilogue.bias.data(), epilogue.scale, epilogue.activation};
  }

  template <class Body>
  void for_row_blocks(Index rows, Index block, const Body& body) {
    pool_->parallel_for((rows + block - 1) / block, [&](Index part, int /*thread*/) {
      body(part * block, std::min(block, rows - part * block));
    });
  }

  /// Calls `body` for every line along the last axis.
  template <class Body>
  void for_lines(TensorView<const float, 4> image, const Body& body) {
    const Index lines = image.extent(1) * image.extent(2);
    const Index block = std::max<Index>(1, kLineElements / std::max<Index>(1, image.extent(3)));
    for_row_blocks(image.extent(0) * lines, block, [&](Index begin, Index count) {
      for (Index i = begin; i < begin + count; ++i) {
        body(i / lines, i % lines / image.extent(2), i % image.extent(2));
      }
    });
  }

  static Line line(TensorView<float, 4> image, Index n, Index y, Index x) {
    return {&image(n, y, x, 0), image.extent(3), Stride(image.stride(3))};
  }
  static ConstLine line(TensorView<const float, 4> image, Index n, Index y, Index x) {
    return {&image(n, y, x, 0), image.extent(3), Stride(image.stride(3))};
  }

  /// The same where the last axis has stride one, which the compiler must know to use vectors.
  static Eigen::Map<Eigen::ArrayXf> dense_line(TensorView<float, 4> image, Index n, Index y,
                                               Index x) {
    return {&image(n, y, x, 0), image.extent(3)};
  }
  static Eigen::Map<const Eigen::ArrayXf> dense_line(TensorView<const float, 4> image, Index n,
                                                     Index y, Index x) {
    return {&image(n, y, x, 0), image.extent(3)};
  }

  /// out = scale * a b, or += where `accumulate`; any strides.
  void multiply(TensorView<const float, 3> a, TensorView<const float, 3> b, float scale,
                bool accumulate, TensorView<float, 3> out) {
    if (eigen::has_unit_axis(out)) {
      eigen::batched_product(*kernels_, *products_, *pool_, scratch_.data(), a, b, scale,
                             accumulate, out);
      return;
    }
    const TensorView<float, 3> dense(memory_.take(out.size()), out.extents());
    eigen::batched_product(*kernels_, *products_, *pool_, scratch_.data(), a, b, scale, false,
                           dense);
    const auto product = dense.with_unit_axis(0);
    const auto target = out.with_unit_axis(0);
    if (accumulate) {
      add(target, product, target);
    } else {
      copy(product, target);
    }
  }

  static constexpr Index kLineElements = 16384;  // of one part of an element-wise loop

  std::unique_ptr<ThreadPool> pool_;
  std::vector<eigen::ThreadScratch> scratch_;
  EigenMemory memory_use_;  // but for the scratch memory
  eigen::Scratch memory_;   // of all threads together
  eigen::Scratch positions_[2];
  const eigen::KernelTable* kernels_;
  const eigen::ProductKernels* products_;
};

static_assert(HasGridAttention<EigenBackend> && HasAttention<EigenBackend> &&
              PacksConvolutions<EigenBackend>);

}  // namespace promiseg

// The reference backend: plain loops with double accumulation. Complete, slow, and the oracle that
// every other backend is tested against.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "promiseg/backend/concept.hpp"
#include "promiseg/core/dtype.hpp"
#include "promiseg/core/precision.hpp"
#include "promiseg/core/tensor.hpp"

namespace promiseg {

/// Models `Backend` on host memory with one thread.
class ReferenceBackend {
 public:
  using PackedMatrix = Tensor<float, 2>;  ///< the weights as they come

  explicit ReferenceBackend(Precision precision = Precision::fp32) : precision_(precision) {}

  Precision precision() const { return precision_; }

  std::string_view name() const { return "reference"; }
  MemorySpace space() const { return MemorySpace::host; }
  Buffer allocate(std::size_t size) { return allocate_host(size); }

  void upload(TensorView<const float, 1> from, TensorView<float, 1> to) { copy_vector(from, to); }
  void download(TensorView<const float, 1> from, TensorView<float, 1> to) { copy_vector(from, to); }
  PackedMatrix pack(TensorView<const float, 2> weights) { return PackedMatrix(weights); }

  void gemm(TensorView<const float, 2> in, const PackedMatrix& weights, const Epilogue<2>& epilogue,
            TensorView<float, 2> out) {
    require_gemm(in, weights.extent(0), weights.extent(1), epilogue, out);
    const auto w = weights.view();
    for (Index m = 0; m < out.extent(0); ++m) {
      for (Index n = 0; n < out.extent(1); ++n) {
        double sum = 0;
        for (Index k = 0; k < in.extent(1); ++k) sum += factor(in(m, k)) * factor(w(n, k));
        store(epilogue, sum, n, out, m, n);
      }
    }
  }

  void batched_gemm(TensorView<const float, 3> a, TensorView<const float, 3> b, float scale,
                    TensorView<float, 3> out) {
    require_batched_gemm(a, b, out);
    for (Index i = 0; i < out.extent(0); ++i) {
      for (Index m = 0; m < out.extent(1); ++m) {
        for (Index n = 0; n < out.extent(2); ++n) {
          double sum = 0;
          for (Index k = 0; k < a.extent(2); ++k) sum += factor(a(i, m, k)) * factor(b(i, k, n));
          out(i, m, n) = static_cast<float>(double{scale} * sum);
        }
      }
    }
  }

  void conv2d(TensorView<const float, 4> in, const PackedMatrix& weights, ConvGeometry geometry,
              const Epilogue<4>& epilogue, TensorView<float, 4> out) {
    require_conv2d(in, weights.extent(0), weights.extent(1), geometry, epilogue, out);
    const TensorView<const float, 4> w = weights.view().reshaped(
        Extents<4>{weights.extent(0), geometry.kernel, geometry.kernel, in.extent(3)});
    for_each_pixel(out, [&](Index n, Index y, Index x) {
      for (Index o = 0; o < out.extent(3); ++o) {
        double sum = 0;
        for_each_tap(in, geometry, y, x, [&](Index ky, Index kx, Index iy, Index ix) {
          for (Index c = 0; c < in.extent(3); ++c) {
            sum += factor(in(n, iy, ix, c)) * factor(w(o, ky, kx, c));
          }
        });
        store(epilogue, sum, o, out, n, y, x, o);
      }
    });
  }

  void depthwise_conv2d(TensorView<const float, 4> in, TensorView<const float, 3> weights,
                        ConvGeometry geometry, const Epilogue<4>& epilogue,
                        TensorView<float, 4> out) {
    require_depthwise_conv2d(in, weights, geometry, epilogue, out);
    for_each_pixel(out, [&](Index n, Index y, Index x) {
      for (Index c = 0; c < out.extent(3); ++c) {
        double sum = 0;
        for_each_tap(in, geometry, y, x, [&](Index ky, Index kx, Index iy, Index ix) {
          sum += double{in(n, iy, ix, c)} * double{weights(ky, kx, c)};
        });
        store(epilogue, sum, c, out, n, y, x, c);
      }
    });
  }

  void conv_transpose2d(TensorView<const float, 4> in, const PackedMatrix& weights, Index kernel,
                        TensorView<const float, 1> bias, Activation activation,
                        TensorView<float, 4> out) {
    require_conv_transpose2d(in, weights.extent(0), weights.extent(1), kernel, bias, out);
    const TensorView<const float, 4> w =
        weights.view().reshaped(Extents<4>{kernel, kernel, out.extent(3), in.extent(3)});
    const Epilogue<4> epilogue{bias, {}, activation};
    for_each_pixel(out, [&](Index n, Index y, Index x) {
      for (Index o = 0; o < out.extent(3); ++o) {
        double sum = 0;
        for (Index c = 0; c < in.extent(3); ++c) {
          sum += factor(in(n, y / kernel, x / kernel, c)) * factor(w(y % kernel, x % kernel, o, c));
        }
        store(epilogue, sum, o, out, n, y, x, o);
      }
    });
  }

  void layer_norm(TensorView<const float, 2> in, TensorView<const float, 1> gamma,
                  TensorView<const float, 1> beta, float epsilon, Activation activation,
                  TensorView<float, 2> out) {
    require_layer_norm(in, gamma, beta, out);
    const Index channels = in.extent(1);
    for (Index m = 0; m < in.extent(0); ++m) {
      double mean = 0;
      for (Index c = 0; c < channels; ++c) mean += double{in(m, c)};
      mean /= static_cast<double>(channels);
      double variance = 0;
      for (Index c = 0; c < channels; ++c) {
        const double centred = double{in(m, c)} - mean;
        variance += centred * centred;
      }
      variance /= static_cast<double>(channels);
      const double inverse = 1 / std::sqrt(variance + double{epsilon});
      for (Index c = 0; c < channels; ++c) {
        const double normal = (double{in(m, c)} - mean) * inverse;
        out(m, c) = activate(activation, normal * double{gamma(c)} + double{beta(c)});
      }
    }
  }

  void max_pool2d(TensorView<const float, 4> in, ConvGeometry geometry, TensorView<float, 4> out) {
    require_max_pool2d(in, geometry, out);
    for_each_pixel(out, [&](Index n, Index y, Index x) {
      for (Index c = 0; c < out.extent(3); ++c) {
        float largest = -std::numeric_limits<float>::infinity();
        for_each_tap(in, geometry, y, x, [&](Index /*ky*/, Index /*kx*/, Index iy, Index ix) {
          largest = std::max(largest, in(n, iy, ix, c));
        });
        out(n, y, x, c) = largest;
      }
    });
  }

  void mean_pixels(TensorView<const float, 4> in, TensorView<float, 2> out) {
    require_mean_pixels(in, out);
    for (Index n = 0; n < in.extent(0); ++n) {
      for (Index c = 0; c < in.extent(3); ++c) {
        double sum = 0;
        for (Index y = 0; y < in.extent(1); ++y) {
          for (Index x = 0; x < in.extent(2); ++x) sum += double{in(n, y, x, c)};
        }
        out(n, c) = static_cast<float>(sum / static_cast<double>(in.extent(1) * in.extent(2)));
      }
    }
  }

  void softmax(TensorView<float, 2> rows) {
    for (Index m = 0; m < rows.extent(0); ++m) {
      double largest = -std::numeric_limits<double>::infinity();
      for (Index n = 0; n < rows.extent(1); ++n) largest = std::max(largest, double{rows(m, n)});
      double sum = 0;
      for (Index n = 0; n < rows.extent(1); ++n) sum += std::exp(double{rows(m, n)} - largest);
      for (Index n = 0; n < rows.extent(1); ++n) {
        rows(m, n) = static_cast<float>(std::exp(double{rows(m, n)} - largest) / sum);
      }
    }
  }

  void add(TensorView<const float, 4> a, TensorView<const float, 4> b, TensorView<float, 4> out) {
    require_shape(a, out.extents(), "add: a");
    require_shape(b, out.extents(), "add: b");
    for_each_pixel(out, [&](Index n, Index y, Index x) {
      for (Index c = 0; c < out.extent(3); ++c) out(n, y, x, c) = a(n, y, x, c) + b(n, y, x, c);
    });
  }

  void copy(TensorView<const float, 4> from, TensorView<float, 4> to) {
    require_shape(from, to.extents(), "copy: source");
    for_each_pixel(to, [&](Index n, Index y, Index x) {
      for (Index c = 0; c < to.extent(3); ++c) to(n, y, x, c) = from(n, y, x, c);
    });
  }

 protected:  // for the gradients of reference_training.hpp
  /// What a value is in a matrix product.
  double factor(float value) const {
    if (precision_ == Precision::fp32) return double{value};
    return double{bfloat16_to_float(float_to_bfloat16(value))};
  }

  static void copy_vector(TensorView<const float, 1> from, TensorView<float, 1> to) {
    require_shape(from, to.extents(), "upload or download: source");
    for (Index i = 0; i < to.extent(0); ++i) to(i) = from(i);
  }

  static float activate(Activation activation, double x) {
    switch (activation) {
      case Activation::relu:
        return static_cast<float>(std::max(x, 0.0));
      case Activation::gelu:
        return static_cast<float>(0.5 * x * (1 + std::erf(x * 0.70710678118654752440)));
      case Activation::none:
        break;
    }
    return static_cast<float>(x);
  }

  template <std::size_t Rank, class... I>
  static void store(const Epilogue<Rank>& epilogue, double sum, Index channel,
                    TensorView<float, Rank> out, I... at) {
    double value = double{epilogue.scale} * sum;
    if (epilogue.bias.data() != nullptr) value += double{epilogue.bias(channel)};
    if (epilogue.residual.data() != nullptr) value += double{epilogue.residual(at...)};
    out(at...) = activate(epilogue.activation, value);
  }

  template <class Body>
  static void for_each_pixel(TensorView<const float, 4> image, const Body& body) {
    for (Index n = 0; n < image.extent(0); ++n) {
      for (Index y = 0; y < image.extent(1); ++y) {
        for (Index x = 0; x < image.extent(2); ++x) body(n, y, x);
      }
    }
  }

  /// The kernel positions of one output pixel that fall inside the image.
  template <class Body>
  static void for_each_tap(TensorView<const float, 4> in, ConvGeometry geometry, Index y, Index x,
                           const Body& body) {
    for (Index ky = 0; ky < geometry.kernel; ++ky) {
      const Index iy = y * geometry.stride + ky - geometry.padding;
      if (iy < 0 || iy >= in.extent(1)) continue;
      for (Index kx = 0; kx < geometry.kernel; ++kx) {
        const Index ix = x * geometry.stride + kx - geometry.padding;
        if (ix >= 0 && ix < in.extent(2)) body(ky, kx, iy, ix);
      }
    }
  }

 private:
  Precision precision_;
};

static_assert(Backend<ReferenceBackend>);

}  // namespace promiseg

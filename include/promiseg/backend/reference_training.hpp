// The reference backend's gradients: plain loops with double sums, the oracle for all others.
#pragma once

#include <vector>

#include "promiseg/backend/reference.hpp"
#include "promiseg/backend/training_concept.hpp"

namespace promiseg {

/// Models `TrainingBackend` on host memory with one thread.
class ReferenceTrainingBackend : public ReferenceBackend {
 public:
  void fill(float value, TensorView<float, 4> to) {
    for_each_element(to.extents(), [&](auto... at) { to(at...) = value; });
  }

  void accumulate(TensorView<const float, 4> from, float scale, TensorView<float, 4> to) {
    require_shape(from, to.extents(), "accumulate: source");
    // The axes that are summed run fastest, so every sum is finished before it is stored.
    std::array<std::size_t, 4> order{};
    std::size_t next = 0;
    for (const bool summed : {false, true}) {
      for (std::size_t axis = 0; axis < 4; ++axis) {
        if ((to.stride(axis) == 0 && to.extent(axis) > 1) == summed) order[next++] = axis;
      }
    }
    const auto source = from.permuted(order);
    const auto target = to.permuted(order);
    float* current = nullptr;
    double sum = 0;
    for_each_element(target.extents(), [&](auto... at) {
      float* place = &target(at...);
      if (place != current) {
        if (current != nullptr) *current = static_cast<float>(sum);
        current = place;
        sum = double{*place};
      }
      sum += double{scale} * double{source(at...)};
    });
    if (current != nullptr) *current = static_cast<float>(sum);
  }

  void activate(TensorView<const float, 1> in, Activation activation, TensorView<float, 1> out) {
    require_shape(in, out.extents(), "activate: input");
    for (Index i = 0; i < in.extent(0); ++i) {
      out(i) = ReferenceBackend::activate(activation, double{in(i)});
    }
  }

  void activation_gradient(TensorView<const float, 1> in, Activation activation,
                           TensorView<float, 1> gradient) {
    require_shape(in, gradient.extents(), "activation_gradient: input");
    for (Index i = 0; i < in.extent(0); ++i) {
      gradient(i) = static_cast<float>(double{gradient(i)} * slope(activation, double{in(i)}));
    }
  }

  void accumulate_batched_gemm(TensorView<const float, 3> a, TensorView<const float, 3> b,
                               float scale, TensorView<float, 3> out) {
    Tensor<float, 3> product(out.extents());
    batched_gemm(a, b, scale, product);
    accumulate(product.view().with_unit_axis(0), 1.0F, out.with_unit_axis(0));
  }

  void conv2d_weight_gradient(TensorView<const float, 4> in, ConvGeometry geometry,
                              TensorView<const float, 4> gradient, float scale,
                              TensorView<float, 2> weights) {
    require_conv2d(in, weights.extent(0), weights.extent(1), geometry, {}, as_output(gradient));
    Tensor<double, 4> sums({weights.extent(0), geometry.kernel, geometry.kernel, in.extent(3)});
    for_each_pixel(gradient, [&](Index n, Index y, Index x) {
      for_each_tap(in, geometry, y, x, [&](Index ky, Index kx, Index iy, Index ix) {
        for (Index o = 0; o < gradient.extent(3); ++o) {
          for (Index c = 0; c < in.extent(3); ++c) {
            sums.view()(o, ky, kx, c) += double{gradient(n, y, x, o)} * double{in(n, iy, ix, c)};
          }
        }
      });
    });
    for (Index i = 0; i < sums.size(); ++i) {
      float& to = weights(i / weights.extent(1), i % weights.extent(1));
      to = static_cast<float>(double{to} + double{scale} * sums.data()[i]);
    }
  }

  void depthwise_conv2d_gradient(TensorView<const float, 4> in, TensorView<const float, 3> weights,
                                 ConvGeometry geometry, TensorView<const float, 4> gradient,
                                 TensorView<float, 4> in_gradient,
                                 TensorView<float, 3> weight_gradient) {
    require_depthwise_conv2d(in, weights, geometry, {}, as_output(gradient));
    for_each_pixel(gradient, [&](Index n, Index y, Index x) {
      for_each_tap(in, geometry, y, x, [&](Index ky, Index kx, Index iy, Index ix) {
        for (Index c = 0; c < in.extent(3); ++c) {
          const float g = gradient(n, y, x, c);
          if (in_gradient.data() != nullptr) in_gradient(n, iy, ix, c) += g * weights(ky, kx, c);
          if (weight_gradient.data() != nullptr) weight_gradient(ky, kx, c) += g * in(n, iy, ix, c);
        }
      });
    });
  }

  void layer_norm_gradient(TensorView<const float, 2> in, TensorView<const float, 1> gamma,
                           float epsilon, TensorView<const float, 2> gradient,
                           TensorView<float, 2> in_gradient, TensorView<float, 1> gamma_gradient,
                           TensorView<float, 1> beta_gradient) {
    const Index channels = in.extent(1);
    const auto count = static_cast<double>(channels);
    std::vector<double> gamma_sums(static_cast<std::size_t>(channels));
    std::vector<double> beta_sums(static_cast<std::size_t>(channels));
    for (Index m = 0; m < in.extent(0); ++m) {
      double mean = 0;
      double square = 0;
      for (Index c = 0; c < channels; ++c) mean += double{in(m, c)} / count;
      for (Index c = 0; c < channels; ++c) {
        square += (double{in(m, c)} - mean) * (double{in(m, c)} - mean) / count;
      }
      const double inverse = 1 / std::sqrt(square + double{epsilon});
      double sum = 0;        // mean of the gradient of the normalised values
      double projected = 0;  // mean of its product with them
      for (Index c = 0; c < channels; ++c) {
        const double normal = (double{in(m, c)} - mean) * inverse;
        const double g = double{gradient(m, c)};
        sum += g * double{gamma(c)} / count;
        projected += g * double{gamma(c)} * normal / count;
        gamma_sums[static_cast<std::size_t>(c)] += g * normal;
        beta_sums[static_cast<std::size_t>(c)] += g;
      }
      for (Index c = 0; c < channels && in_gradient.data() != nullptr; ++c) {
        const double normal = (double{in(m, c)} - mean) * inverse;
        const double g = double{gradient(m, c)} * double{gamma(c)};
        in_gradient(m, c) += static_cast<float>(inverse * (g - sum - normal * projected));
      }
    }
    add_sums(gamma_sums, gamma_gradient);
    add_sums(beta_sums, beta_gradient);
  }

  void softmax_gradient(TensorView<const float, 2> out, TensorView<float, 2> gradient) {
    require_shape(out, gradient.extents(), "softmax_gradient: output");
    for (Index m = 0; m < out.extent(0); ++m) {
      double projected = 0;
      for (Index n = 0; n < out.extent(1); ++n) {
        projected += double{out(m, n)} * double{gradient(m, n)};
      }
      for (Index n = 0; n < out.extent(1); ++n) {
        gradient(m, n) =
            static_cast<float>(double{out(m, n)} * (double{gradient(m, n)} - projected));
      }
    }
  }

  void max_pool2d_gradient(TensorView<const float, 4> in, ConvGeometry geometry,
                           TensorView<const float, 4> gradient, TensorView<float, 4> in_gradient) {
    require_max_pool2d(in, geometry, as_output(gradient));
    for_each_pixel(gradient, [&](Index n, Index y, Index x) {
      for (Index c = 0; c < in.extent(3); ++c) {
        const float* largest = nullptr;
        float* to = nullptr;
        for_each_tap(in, geometry, y, x, [&](Index /*ky*/, Index /*kx*/, Index iy, Index ix) {
          const float* value = &in(n, iy, ix, c);
          if (largest == nullptr || *value > *largest) {
            largest = value;
            to = &in_gradient(n, iy, ix, c);
          }
        });
        if (to != nullptr) *to += gradient(n, y, x, c);
      }
    });
  }

  void batch_moments(TensorView<const float, 2> in, const BatchMoments& moments) {
    const auto rows = static_cast<double>(in.extent(0));
    for (Index c = 0; c < in.extent(1); ++c) {
      double mean = 0;
      double variance = 0;
      for (Index m = 0; m < in.extent(0); ++m) mean += double{in(m, c)} / rows;
      for (Index m = 0; m < in.extent(0); ++m) {
        variance += (double{in(m, c)} - mean) * (double{in(m, c)} - mean) / rows;
      }
      moments.mean(c) = static_cast<float>(mean);
      moments.variance(c) = static_cast<float>(variance);
    }
  }

  void batch_norm(TensorView<const float, 2> in, TensorView<const float, 1> gamma,
                  TensorView<const float, 1> beta, const BatchMoments& moments, float epsilon,
                  TensorView<float, 2> out) {
    for (Index m = 0; m < in.extent(0); ++m) {
      for (Index c = 0; c < in.extent(1); ++c) {
        const double normal =
            (double{in(m, c)} - double{moments.mean(c)}) * inverse_deviation(moments, epsilon, c);
        out(m, c) = static_cast<float>(normal * double{gamma(c)} + double{beta(c)});
      }
    }
  }

  void batch_norm_gradient(TensorView<const float, 2> in, TensorView<const float, 1> gamma,
                           const BatchMoments& moments, float epsilon, bool own_moments,
                           TensorView<const float, 2> gradient, TensorView<float, 2> in_gradient,
                           TensorView<float, 1> gamma_gradient,
                           TensorView<float, 1> beta_gradient) {
    const auto rows = static_cast<double>(in.extent(0));
    for (Index c = 0; c < in.extent(1); ++c) {
      const double inverse = inverse_deviation(moments, epsilon, c);
      const auto normal = [&](Index m) {
        return (double{in(m, c)} - double{moments.mean(c)}) * inverse;
      };
      double sum = 0;
      double projected = 0;
      for (Index m = 0; m < in.extent(0); ++m) {
        sum += double{gradient(m, c)};
        projected += double{gradient(m, c)} * normal(m);
      }
      if (beta_gradient.data() != nullptr) beta_gradient(c) += static_cast<float>(sum);
      if (gamma_gradient.data() != nullptr) gamma_gradient(c) += static_cast<float>(projected);
      for (Index m = 0; m < in.extent(0) && in_gradient.data() != nullptr; ++m) {
        double g = double{gradient(m, c)};
        if (own_moments) g -= sum / rows + normal(m) * projected / rows;
        in_gradient(m, c) += static_cast<float>(g * double{gamma(c)} * inverse);
      }
    }
  }

 private:
  static double slope(Activation activation, double x) {
    constexpr double kInverseRoot2 = 0.70710678118654752440;
    constexpr double kInverseRoot2Pi = 0.39894228040143267794;
    switch (activation) {
      case Activation::relu:
        return x > 0 ? 1 : 0;
      case Activation::gelu:
        return 0.5 * (1 + std::erf(x * kInverseRoot2)) +
               x * kInverseRoot2Pi * std::exp(-0.5 * x * x);
      case Activation::none:
        break;
    }
    return 1;
  }

  static double inverse_deviation(const BatchMoments& moments, float epsilon, Index channel) {
    return 1 / std::sqrt(double{moments.variance(channel)} + double{epsilon});
  }

  static void add_sums(const std::vector<double>& sums, TensorView<float, 1> to) {
    for (Index c = 0; c < to.extent(0) && to.data() != nullptr; ++c) {
      to(c) += static_cast<float>(sums[static_cast<std::size_t>(c)]);
    }
  }

  /// For the shape checks of the primitives themselves, which take outputs.
  static TensorView<float, 4> as_output(TensorView<const float, 4> view) {
    return {const_cast<float*>(view.data()), view.extents(), view.strides()};
  }

  template <class Body>
  static void for_each_element(const Extents<4>& extents, const Body& body) {
    for (Index i = 0; i < extents[0]; ++i) {
      for (Index j = 0; j < extents[1]; ++j) {
        for (Index k = 0; k < extents[2]; ++k) {
          for (Index l = 0; l < extents[3]; ++l) body(i, j, k, l);
        }
      }
    }
  }
};

static_assert(TrainingBackend<ReferenceTrainingBackend>);

}  // namespace promiseg

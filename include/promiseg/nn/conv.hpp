// Convolutions over channels-last images, made from PyTorch's weight layouts.
#pragma once

#include <cmath>

#include "promiseg/core/tensor.hpp"
#include "promiseg/nn/parameter.hpp"
#include "promiseg/nn/weight_source.hpp"
#include "promiseg/nn/workspace.hpp"

namespace promiseg::nn {

/// A convolution's weights with the batch norm behind it multiplied in: frozen weights need it
/// only once.
struct FoldedConv {
  Tensor<float, 4> weight;
  Tensor<float, 1> bias;

  ConvWeights view() const { return {weight.view(), bias.view()}; }
  /// Of a 1x1 convolution, as a matrix.
  LinearWeights linear() const {
    return {weight.view().reshaped(Extents<2>{weight.extent(0), weight.extent(1)}), bias.view()};
  }
};

/// `w' = w * gamma / sqrt(var + eps)`, `b' = beta + (b - mean) * gamma / sqrt(var + eps)`, in
/// double.
inline FoldedConv fold_batch_norm(const ConvNormWeights& weights) {
  constexpr double kEpsilon = 1e-5;  // of every BatchNorm in the originals
  const TensorView<const float, 4> weight = weights.conv.weight;
  FoldedConv folded{Tensor<float, 4>(weight.extents()), Tensor<float, 1>({weight.extent(0)})};
  const Index inputs = weight.size() / weight.extent(0);
  for (Index o = 0; o < weight.extent(0); ++o) {
    const double factor =
        double{weights.norm.gamma(o)} / std::sqrt(double{weights.norm.variance(o)} + kEpsilon);
    for (Index i = o * inputs; i < (o + 1) * inputs; ++i) {
      folded.weight.data()[i] = static_cast<float>(double{weight.data()[i]} * factor);
    }
    const double bias = weights.conv.bias.data() != nullptr ? double{weights.conv.bias(o)} : 0.0;
    folded.bias.data()[o] = static_cast<float>(double{weights.norm.beta(o)} +
                                               (bias - double{weights.norm.mean(o)}) * factor);
  }
  return folded;
}

/// A square-kernel convolution with every channel connected.
template <Backend B>
class Conv2d {
 public:
  Conv2d(B& backend, const ConvWeights& weights, Index stride, Index padding)
      : weight_(backend.pack(matrix(weights.weight).view())),
        bias_(backend, weights.bias),
        geometry_{weights.weight.extent(2), stride, padding},
        outputs_(weights.weight.extent(0)) {}

  Extents<4> output(const Extents<4>& in) const {
    return {in[0], geometry_.output(in[1]), geometry_.output(in[2]), outputs_};
  }

  /// in [N, H, W, C], out of shape `output(in.extents())`, as is the residual; the residual, if
  /// given, is added before the activation and may be out itself.
  void operator()(Workspace<B>& workspace, TensorView<const float, 4> in, TensorView<float, 4> out,
                  Activation activation = Activation::none,
                  TensorView<const float, 4> residual = {}) const {
    workspace.backend().conv2d(in, weight_, geometry_, {bias_.view(), residual, activation}, out);
  }

 private:
  /// [O, I, k, k] to [O, k * k * I]
  static Tensor<float, 2> matrix(TensorView<const float, 4> weight) {
    const Tensor<float, 4> ordered(weight.permuted({0, 2, 3, 1}));
    return Tensor<float, 2>(
        ordered.view().reshaped(Extents<2>{weight.extent(0), weight.size() / weight.extent(0)}));
  }

  typename B::PackedMatrix weight_;
  Parameter<1> bias_;
  ConvGeometry geometry_;
  Index outputs_;
};

/// One kernel per channel; PyTorch's weight is [C, 1, k, k].
template <Backend B>
class DepthwiseConv2d {
 public:
  DepthwiseConv2d(B& backend, const ConvWeights& weights, Index stride, Index padding)
      : weight_(backend, channels_last(weights.weight).view()),
        bias_(backend, weights.bias),
        geometry_{weights.weight.extent(2), stride, padding} {}

  Extents<4> output(const Extents<4>& in) const {
    return {in[0], geometry_.output(in[1]), geometry_.output(in[2]), in[3]};
  }

  void operator()(Workspace<B>& workspace, TensorView<const float, 4> in, TensorView<float, 4> out,
                  Activation activation = Activation::none) const {
    workspace.backend().depthwise_conv2d(in, weight_.view(), geometry_,
                                         {bias_.view(), {}, activation}, out);
  }

 private:
  /// [C, 1, k, k] to [k, k, C]
  static Tensor<float, 3> channels_last(TensorView<const float, 4> weight) {
    return Tensor<float, 3>(weight.select(1, 0).permuted({1, 2, 0}));
  }

  Parameter<3> weight_;
  Parameter<1> bias_;
  ConvGeometry geometry_;
};

/// A transposed convolution whose kernel equals its stride; PyTorch's weight is [I, O, k, k].
template <Backend B>
class ConvTranspose2d {
 public:
  ConvTranspose2d(B& backend, const ConvWeights& weights)
      : weight_(backend.pack(matrix(weights.weight).view())),
        bias_(backend, weights.bias),
        kernel_(weights.weight.extent(2)),
        outputs_(weights.weight.extent(1)) {}

  Extents<4> output(const Extents<4>& in) const {
    return {in[0], in[1] * kernel_, in[2] * kernel_, outputs_};
  }

  void operator()(Workspace<B>& workspace, TensorView<const float, 4> in, TensorView<float, 4> out,
                  Activation activation = Activation::none) const {
    workspace.backend().conv_transpose2d(in, weight_, kernel_, bias_.view(), activation, out);
  }

 private:
  /// [I, O, k, k] to [k * k * O, I]
  static Tensor<float, 2> matrix(TensorView<const float, 4> weight) {
    const Tensor<float, 4> ordered(weight.permuted({2, 3, 1, 0}));
    return Tensor<float, 2>(
        ordered.view().reshaped(Extents<2>{weight.size() / weight.extent(0), weight.extent(0)}));
  }

  typename B::PackedMatrix weight_;
  Parameter<1> bias_;
  Index kernel_;
  Index outputs_;
};

}  // namespace promiseg::nn

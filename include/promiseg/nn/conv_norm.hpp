// A convolution with the batch norm behind it: one layer where weights are frozen, two where they
// train.
#pragma once

#include <cmath>
#include <type_traits>

#include "promiseg/core/tensor.hpp"
#include "promiseg/nn/conv.hpp"
#include "promiseg/nn/linear.hpp"

namespace promiseg::nn {

inline constexpr float kBatchNormEpsilon = 1e-5F;  // of every BatchNorm in the originals

/// A convolution's weights with the batch norm behind it multiplied in: frozen weights need it
/// only once.
struct FoldedConv {
  Tensor<float, 4> weight;
  Tensor<float, 1> bias;

  ConvWeights view() const { return {weight.view(), bias.view()}; }
};

/// `w' = w * gamma / sqrt(var + eps)`, `b' = beta + (b - mean) * gamma / sqrt(var + eps)`, in
/// double.
inline FoldedConv fold_batch_norm(const ConvNormWeights& weights) {
  constexpr double kEpsilon = 1e-5;
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

/// `out = activation((in - mean) / sqrt(variance + epsilon) * gamma + beta + residual)` over rows.
struct BatchNorm {
  TensorView<const float, 1> gamma;  ///< in the backend's memory, as is beta
  TensorView<const float, 1> beta;
  TensorView<const float, 1> running_mean;  ///< the source's own host memory, as is the variance
  TensorView<const float, 1> running_variance;
  float epsilon = kBatchNormEpsilon;
};

/// A backend that keeps batch norms apart, because it trains them. It decides whether they measure
/// their input or use the running statistics.
template <class B>
concept HasBatchNorm = Backend<B> &&
    requires(B& backend, TensorView<const float, 2> rows, const BatchNorm& norm,
             Activation activation, TensorView<float, 2> out) {
  backend.batch_norm_layer(rows, norm, activation, rows, out);
};

/// `Layer` is Conv2d, DepthwiseConv2d or, for a 1x1 convolution over rows, Linear.
template <Backend B, class Layer>
class BatchNormed {
 public:
  /// Of inputs and outputs: images, or rows.
  static constexpr std::size_t kRank = std::is_same_v<Layer, Linear<B>> ? 2 : 4;

  /// `geometry` goes to the layer: stride and padding, or nothing.
  template <class... Geometry>
  BatchNormed(B& backend, const ConvNormWeights& weights, Geometry... geometry)
      : layer_(make_layer(backend, weights, geometry...)) {
    if constexpr (HasBatchNorm<B>) {
      gamma_ = {backend, weights.norm.gamma};
      beta_ = {backend, weights.norm.beta};
      running_mean_ = weights.norm.mean;
      running_variance_ = weights.norm.variance;
    }
  }

  /// Extents of the output, of a convolution.
  Extents<4> output(const Extents<4>& in) const { return layer_.output(in); }
  /// Columns of the output, of a Linear.
  Index outputs() const { return layer_.outputs(); }
  const Layer& layer() const { return layer_; }

  /// As the layer's own. Output and residual are contiguous.
  void operator()(Workspace<B>& workspace, TensorView<const float, kRank> in,
                  TensorView<float, kRank> out, Activation activation = Activation::none) const {
    if constexpr (HasBatchNorm<B>) {
      normalise(workspace, in, out, activation, {});
    } else {
      layer_(workspace, in, out, activation);
    }
  }

  void operator()(Workspace<B>& workspace, TensorView<const float, kRank> in,
                  TensorView<float, kRank> out, Activation activation,
                  TensorView<const float, kRank> residual) const {
    if constexpr (HasBatchNorm<B>) {
      normalise(workspace, in, out, activation, rows(residual));
    } else {
      layer_(workspace, in, out, activation, residual);
    }
  }

 private:
  template <class... Geometry>
  static Layer make_layer(B& backend, const ConvNormWeights& weights, Geometry... geometry) {
    if constexpr (HasBatchNorm<B>) {
      return layer_of(backend, weights.conv, geometry...);
    } else {
      const FoldedConv folded = fold_batch_norm(weights);
      return layer_of(backend, folded.view(), geometry...);
    }
  }

  template <class... Geometry>
  static Layer layer_of(B& backend, const ConvWeights& weights, Geometry... geometry) {
    if constexpr (std::is_same_v<Layer, Linear<B>>) {
      const Extents<2> matrix{weights.weight.extent(0), weights.weight.extent(1)};
      return Layer(backend, {weights.weight.reshaped(matrix), weights.bias});
    } else {
      return Layer(backend, weights, geometry...);
    }
  }

  template <class T>
  static TensorView<T, 2> rows(TensorView<T, kRank> view) {
    const Index columns = view.extent(kRank - 1);
    return view.reshaped(Extents<2>{view.size() / columns, columns});
  }

  void normalise(Workspace<B>& workspace, TensorView<const float, kRank> in,
                 TensorView<float, kRank> out, Activation activation,
                 TensorView<const float, 2> residual) const {
    const auto frame = workspace.frame();
    const auto product = workspace.tensor(out.extents());
    layer_(workspace, in, product);
    workspace.backend().batch_norm_layer(
        rows(product), {gamma_.view(), beta_.view(), running_mean_, running_variance_}, activation,
        residual, rows(out));
  }

  Layer layer_;
  Parameter<1> gamma_;  // these four are used where the backend has batch norms
  Parameter<1> beta_;
  TensorView<const float, 1> running_mean_;
  TensorView<const float, 1> running_variance_;
};

template <Backend B>
using ConvNorm = BatchNormed<B, Conv2d<B>>;
template <Backend B>
using DepthwiseConvNorm = BatchNormed<B, DepthwiseConv2d<B>>;
template <Backend B>
using LinearNorm = BatchNormed<B, Linear<B>>;

}  // namespace promiseg::nn

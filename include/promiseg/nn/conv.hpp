// Convolutions over channels-last images, made from PyTorch's weight layouts.
#pragma once

#include "promiseg/nn/parameter.hpp"
#include "promiseg/nn/weight_source.hpp"
#include "promiseg/nn/workspace.hpp"

namespace promiseg::nn {

namespace detail {

/// [A, B, k, k] as [A, B, k * k].
inline TensorView<const float, 3> taps_together(TensorView<const float, 4> weight) {
  return weight.reshaped(
      Extents<3>{weight.extent(0), weight.extent(1), weight.extent(2) * weight.extent(3)});
}

}  // namespace detail

/// A square-kernel convolution with every channel connected.
template <Backend B>
class Conv2d {
 public:
  Conv2d(B& backend, const ConvWeights& weights, Index stride, Index padding)
      : geometry_{weights.weight.extent(2), stride, padding},
        weight_(pack_conv_weight(backend, matrix(weights.weight), geometry_)),
        bias_(backend, weights.bias),
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
  /// [O, I, k, k] to [1, O, k * k, I]
  static TensorView<const float, 4> matrix(TensorView<const float, 4> weight) {
    return detail::taps_together(weight).permuted({0, 2, 1}).with_unit_axis(0);
  }

  ConvGeometry geometry_;
  typename B::PackedMatrix weight_;
  Parameter<1> bias_;
  Index outputs_;
};

/// One kernel per channel; PyTorch's weight is [C, 1, k, k].
template <Backend B>
class DepthwiseConv2d {
 public:
  DepthwiseConv2d(B& backend, const ConvWeights& weights, Index stride, Index padding)
      : weight_(backend, channels_last(weights.weight)),
        bias_(backend, weights.bias),
        geometry_{weights.weight.extent(2), stride, padding} {}

  Extents<4> output(const Extents<4>& in) const {
    return {in[0], geometry_.output(in[1]), geometry_.output(in[2]), in[3]};
  }

  ConvGeometry geometry() const { return geometry_; }

  void operator()(Workspace<B>& workspace, TensorView<const float, 4> in, TensorView<float, 4> out,
                  Activation activation = Activation::none) const {
    workspace.backend().depthwise_conv2d(in, weight_.view(), geometry_,
                                         {bias_.view(), {}, activation}, out);
  }

 private:
  /// [C, 1, k, k] to [k, k, C]
  static TensorView<const float, 3> channels_last(TensorView<const float, 4> weight) {
    return weight.select(1, 0).permuted({1, 2, 0});
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
      : weight_(pack_weight(backend, matrix(weights.weight))),
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
  /// [I, O, k, k] to [k * k, O, 1, I]
  static TensorView<const float, 4> matrix(TensorView<const float, 4> weight) {
    return detail::taps_together(weight).permuted({2, 1, 0}).with_unit_axis(2);
  }

  typename B::PackedMatrix weight_;
  Parameter<1> bias_;
  Index kernel_;
  Index outputs_;
};

}  // namespace promiseg::nn

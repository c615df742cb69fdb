// Fully connected layers and stacks of them.
#pragma once

#include <utility>
#include <vector>

#include "promiseg/nn/parameter.hpp"
#include "promiseg/nn/weight_source.hpp"
#include "promiseg/nn/workspace.hpp"

namespace promiseg::nn {

/// `out = activation(in x weight^T + bias + residual)` over the rows of a matrix. Also a 1x1
/// convolution, as images are channels last.
template <Backend B>
class Linear {
 public:
  Linear(B& backend, const LinearWeights& weights)
      : weight_(pack_weight(backend, detail::as_rank4(weights.weight.with_unit_axis(1)))),
        bias_(backend, weights.bias),
        outputs_(weights.weight.extent(0)) {}

  Index outputs() const { return outputs_; }

  /// in [M, inputs], out and residual [M, outputs]; residual may be out itself.
  void operator()(Workspace<B>& workspace, TensorView<const float, 2> in, TensorView<float, 2> out,
                  Activation activation = Activation::none,
                  TensorView<const float, 2> residual = {}) const {
    workspace.backend().gemm(in, weight_, {bias_.view(), residual, activation}, out);
  }

 private:
  typename B::PackedMatrix weight_;
  Parameter<1> bias_;
  Index outputs_;
};

/// Tokens [B, N, C], or the pixels of an image [h, w, C], as rows of C.
template <class T>
TensorView<T, 2> as_rows(const TensorView<T, 3>& tokens) {
  return tokens.reshaped(Extents<2>{tokens.extent(0) * tokens.extent(1), tokens.extent(2)});
}

/// a + b, both [B, N, C]; either may be broadcast. The sum lives in the caller's frame.
template <Backend B>
TensorView<float, 3> sum(Workspace<B>& workspace, TensorView<const float, 3> a,
                         TensorView<const float, 3> b) {
  const auto out = workspace.tensor(a.extents());
  workspace.backend().add(a.with_unit_axis(0), b.with_unit_axis(0), out.with_unit_axis(0));
  return out;
}

/// A layer's outputs for tokens [B, N, C]; they live in the caller's frame.
template <Backend B>
TensorView<float, 3> project(Workspace<B>& workspace, const Linear<B>& layer,
                             TensorView<const float, 3> tokens) {
  const auto out =
      workspace.tensor(Extents<3>{tokens.extent(0), tokens.extent(1), layer.outputs()});
  layer(workspace, as_rows(tokens), as_rows(out));
  return out;
}

/// The two-layer perceptron of a transformer block: `out = lin2(activation(lin1(in))) + residual`.
/// in, out and residual may be the same memory: the second product reads the hidden values only.
template <Backend B>
class Mlp {
 public:
  Mlp(B& backend, const LinearWeights& first, const LinearWeights& second, Activation activation)
      : first_(backend, first), second_(backend, second), activation_(activation) {}

  void operator()(Workspace<B>& workspace, TensorView<const float, 2> in, TensorView<float, 2> out,
                  TensorView<const float, 2> residual) const {
    const auto frame = workspace.frame();
    const auto hidden = workspace.tensor(Extents<2>{in.extent(0), first_.outputs()});
    first_(workspace, in, hidden, activation_);
    second_(workspace, hidden, out, Activation::none, residual);
  }

 private:
  Linear<B> first_;
  Linear<B> second_;
  Activation activation_;
};

/// Layers with ReLU between them and none behind the last: SAM's hypernetworks and IoU head.
template <Backend B>
class ReluStack {
 public:
  ReluStack(B& backend, const std::vector<LinearWeights>& layers) {
    for (const LinearWeights& layer : layers) layers_.emplace_back(backend, layer);
  }

  void operator()(Workspace<B>& workspace, TensorView<const float, 2> in,
                  TensorView<float, 2> out) const {
    const auto frame = workspace.frame();
    for (std::size_t i = 0; i + 1 < layers_.size(); ++i) {
      const auto next = workspace.tensor(Extents<2>{in.extent(0), layers_[i].outputs()});
      layers_[i](workspace, in, next, Activation::relu);
      in = next;
    }
    layers_.back()(workspace, in, out);
  }

 private:
  std::vector<Linear<B>> layers_;
};

}  // namespace promiseg::nn

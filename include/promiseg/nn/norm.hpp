// Layer normalisation over channels, the last axis. SAM's LayerNorm2d is the same thing here, as
// images are channels last.
#pragma once

#include "promiseg/nn/parameter.hpp"
#include "promiseg/nn/weight_source.hpp"
#include "promiseg/nn/workspace.hpp"

namespace promiseg::nn {

template <Backend B>
class LayerNorm {
 public:
  LayerNorm(B& backend, const NormWeights& weights)
      : gamma_(backend, weights.gamma), beta_(backend, weights.beta), epsilon_(weights.epsilon) {}

  /// in, out [M, channels]; in place is allowed.
  void operator()(Workspace<B>& workspace, TensorView<const float, 2> in, TensorView<float, 2> out,
                  Activation activation = Activation::none) const {
    workspace.backend().layer_norm(in, gamma_.view(), beta_.view(), epsilon_, activation, out);
  }

 private:
  Parameter<1> gamma_;
  Parameter<1> beta_;
  float epsilon_;
};

}  // namespace promiseg::nn

// IPS, Incremental Pattern Shifting: the mean of an image's embedding becomes an increment of the
// decoder's mask tokens (`ips_ffn` of the original).
#pragma once

#include <string>

#include "promiseg/adapt/pack_config.hpp"
#include "promiseg/nn/linear.hpp"

namespace promiseg {

struct IpsWeights {
  nn::LinearWeights lin1;
  nn::LinearWeights lin2;
};

inline IpsWeights ips_weights(nn::WeightSource& source, const PackConfig& config,
                              const ModelConfig& model) {
  const Index width = model.prompt_embed_dim;
  return {nn::linear_weights(source, "ips_ffn.lin1", config.ips_hidden_dim, width),
          nn::linear_weights(source, "ips_ffn.lin2", model.mask_tokens() * width,
                             config.ips_hidden_dim)};
}

template <Backend B>
class Ips {
 public:
  Ips(B& backend, const IpsWeights& weights)
      : lin1_(backend, weights.lin1), lin2_(backend, weights.lin2) {}

  /// embedding [B, h, w, C]; increment [B, mask tokens, C] of the mask tokens.
  void operator()(nn::Workspace<B>& workspace, TensorView<const float, 4> embedding,
                  TensorView<float, 3> increment) const {
    const auto frame = workspace.frame();
    const Index batch = embedding.extent(0);
    const auto mean = workspace.tensor(Extents<2>{batch, embedding.extent(3)});
    const auto hidden = workspace.tensor(Extents<2>{batch, lin1_.outputs()});
    workspace.backend().mean_pixels(embedding, mean);
    lin1_(workspace, mean, hidden, Activation::gelu);
    lin2_(workspace, hidden, increment.reshaped(Extents<2>{batch, increment.size() / batch}));
  }

 private:
  nn::Linear<B> lin1_;
  nn::Linear<B> lin2_;
};

}  // namespace promiseg

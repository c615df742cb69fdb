// The decoder's transformer: tokens attend to themselves and to the image, the image to the tokens.
// Follows segment_anything/modeling/transformer.py.
#pragma once

#include <string>
#include <vector>

#include "promiseg/nn/attention.hpp"
#include "promiseg/nn/norm.hpp"
#include "promiseg/sam/model_config.hpp"

namespace promiseg {

struct TwoWayBlockWeights {
  nn::AttentionWeights self_attention;
  nn::NormWeights norm1;
  nn::AttentionWeights token_to_image;
  nn::NormWeights norm2;
  nn::LinearWeights lin1;
  nn::LinearWeights lin2;
  nn::NormWeights norm3;
  nn::NormWeights norm4;
  nn::AttentionWeights image_to_token;
};

struct TwoWayTransformerWeights {
  std::vector<TwoWayBlockWeights> blocks;
  nn::AttentionWeights final_attention;
  nn::NormWeights final_norm;
};

inline TwoWayTransformerWeights two_way_transformer_weights(nn::WeightSource& source,
                                                            const ModelConfig& config) {
  const Index width = config.prompt_embed_dim;
  const Index inner = width / config.attention_downsample_rate;
  const auto epsilon = static_cast<float>(config.decoder_ln_eps);
  const std::string root = "mask_decoder.transformer.";
  const auto attention = [&](const std::string& prefix, Index inside) {
    return nn::AttentionWeights{nn::linear_weights(source, prefix + ".q_proj", inside, width),
                                nn::linear_weights(source, prefix + ".k_proj", inside, width),
                                nn::linear_weights(source, prefix + ".v_proj", inside, width),
                                nn::linear_weights(source, prefix + ".out_proj", width, inside),
                                config.decoder_num_heads};
  };
  TwoWayTransformerWeights weights;
  for (Index i = 0; i < config.decoder_depth; ++i) {
    const std::string layer = root + "layers." + std::to_string(i) + ".";
    weights.blocks.push_back(
        {attention(layer + "self_attn", width),
         nn::norm_weights(source, layer + "norm1", width, epsilon),
         attention(layer + "cross_attn_token_to_image", inner),
         nn::norm_weights(source, layer + "norm2", width, epsilon),
         nn::linear_weights(source, layer + "mlp.lin1", config.decoder_mlp_dim, width),
         nn::linear_weights(source, layer + "mlp.lin2", width, config.decoder_mlp_dim),
         nn::norm_weights(source, layer + "norm3", width, epsilon),
         nn::norm_weights(source, layer + "norm4", width, epsilon),
         attention(layer + "cross_attn_image_to_token", inner)});
  }
  weights.final_attention = attention(root + "final_attn_token_to_image", inner);
  weights.final_norm = nn::norm_weights(source, root + "norm_final_attn", width, epsilon);
  return weights;
}

/// The tensors that a pass through the transformer works on. What the first block computes from
/// the image alone it computes once, if the items share the image.
struct TwoWayState {
  TensorView<float, 3> queries;         ///< [B, N, C], updated
  TensorView<const float, 3> image;     ///< [B, M, C], its tokens; may be broadcast over B
  TensorView<float, 3> keys;            ///< [B, M, C], what becomes of them; may be the same memory
  TensorView<const float, 3> query_pe;  ///< [B, N, C], the tokens as they came in
  TensorView<const float, 3> key_pe;    ///< [B, M, C], may be broadcast over B
};

namespace detail {

/// out = a + b for token tensors; where all items share both, they share the sum.
template <Backend B>
TensorView<float, 3> sum(nn::Workspace<B>& workspace, TensorView<const float, 3> a,
                         TensorView<const float, 3> b) {
  if (a.extent(0) > 1 && a.stride(0) == 0 && b.stride(0) == 0) {
    const auto once = sum(workspace, a.slice(0, 0, 1), b.slice(0, 0, 1));
    return once.broadcast_to(a.extents());
  }
  const auto out = workspace.tensor(a.extents());
  workspace.backend().add(a.with_unit_axis(0), b.with_unit_axis(0), out.with_unit_axis(0));
  return out;
}

inline TensorView<float, 2> token_rows(TensorView<float, 3> tokens) {
  return tokens.reshaped(Extents<2>{tokens.extent(0) * tokens.extent(1), tokens.extent(2)});
}

}  // namespace detail

/// `TwoWayAttentionBlock`.
template <Backend B>
class TwoWayBlock {
 public:
  /// The first block's self attention has no position encoding and no residual.
  TwoWayBlock(B& backend, const TwoWayBlockWeights& weights, bool first)
      : self_attention_(backend, weights.self_attention),
        norm1_(backend, weights.norm1),
        token_to_image_(backend, weights.token_to_image),
        norm2_(backend, weights.norm2),
        mlp_(backend, weights.lin1, weights.lin2, Activation::relu),
        norm3_(backend, weights.norm3),
        norm4_(backend, weights.norm4),
        image_to_token_(backend, weights.image_to_token),
        first_(first) {}

  void operator()(nn::Workspace<B>& workspace, const TwoWayState& state) const {
    const auto frame = workspace.frame();
    const auto& [queries, original, keys, query_pe, key_pe] = state;
    const TensorView<const float, 3> image = first_ ? original : keys;
    const auto rows = detail::token_rows(queries);
    if (first_) {
      const auto attended = workspace.tensor(queries.extents());
      self_attention_(workspace, queries, queries, queries, attended);
      norm1_(workspace, detail::token_rows(attended), rows);
    } else {
      const auto q = detail::sum(workspace, queries, query_pe);
      self_attention_(workspace, q, q, queries, queries, queries);
      norm1_(workspace, rows, rows);
    }
    const auto positioned_image = detail::sum(workspace, image, key_pe);

    token_to_image_(workspace, detail::sum(workspace, queries, query_pe), positioned_image, image,
                    queries, queries);
    norm2_(workspace, rows, rows);

    mlp_(workspace, rows, rows, rows);
    norm3_(workspace, rows, rows);

    if (image.data() != keys.data()) {
      workspace.backend().copy(image.with_unit_axis(0), keys.with_unit_axis(0));
    }
    image_to_token_(workspace, positioned_image, detail::sum(workspace, queries, query_pe), queries,
                    keys, keys);
    norm4_(workspace, detail::token_rows(keys), detail::token_rows(keys));
  }

 private:
  nn::MultiHeadAttention<B> self_attention_;
  nn::LayerNorm<B> norm1_;
  nn::MultiHeadAttention<B> token_to_image_;
  nn::LayerNorm<B> norm2_;
  nn::Mlp<B> mlp_;
  nn::LayerNorm<B> norm3_;
  nn::LayerNorm<B> norm4_;
  nn::MultiHeadAttention<B> image_to_token_;
  bool first_;
};

/// `TwoWayTransformer`.
template <Backend B>
class TwoWayTransformer {
 public:
  TwoWayTransformer(B& backend, const TwoWayTransformerWeights& weights)
      : final_attention_(backend, weights.final_attention),
        final_norm_(backend, weights.final_norm) {
    for (const TwoWayBlockWeights& block : weights.blocks) {
      blocks_.emplace_back(backend, block, blocks_.empty());
    }
  }

  void operator()(nn::Workspace<B>& workspace, const TwoWayState& state) const {
    for (const TwoWayBlock<B>& block : blocks_) block(workspace, state);
    const auto frame = workspace.frame();
    final_attention_(workspace, detail::sum(workspace, state.queries, state.query_pe),
                     detail::sum(workspace, state.keys, state.key_pe), state.keys, state.queries,
                     state.queries);
    final_norm_(workspace, detail::token_rows(state.queries), detail::token_rows(state.queries));
  }

 private:
  std::vector<TwoWayBlock<B>> blocks_;
  nn::MultiHeadAttention<B> final_attention_;
  nn::LayerNorm<B> final_norm_;
};

}  // namespace promiseg

// The decoder's transformer: tokens attend to themselves and to the image, the image to the tokens.
// Follows segment_anything/modeling/transformer.py.
#pragma once

#include <string>
#include <vector>

#include "promiseg/nn/attention.hpp"
#include "promiseg/nn/norm.hpp"
#include "promiseg/nn/token_projections.hpp"
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
};

/// Tokens attend to the image: `queries += output(attention(query(queries + query_pe), k, v))`.
template <Backend B>
class TokenToImageAttention {
 public:
  TokenToImageAttention(B& backend, const nn::AttentionWeights& weights)
      : query_(backend, weights.query), output_(backend, weights.output), heads_(weights.heads) {}

  /// queries and their positions [B, N, C]; image_keys and image_values [B, M, inner].
  void operator()(nn::Workspace<B>& workspace, TensorView<float, 3> queries,
                  TensorView<const float, 3> query_pe, TensorView<const float, 3> image_keys,
                  TensorView<const float, 3> image_values) const {
    const auto frame = workspace.frame();
    const auto moved = nn::sum<B>(workspace, queries, query_pe);
    nn::attend<B>(workspace, heads_, nn::project<B>(workspace, query_, moved), image_keys,
                  image_values, output_, queries, queries);
  }

 private:
  nn::Linear<B> query_;
  nn::Linear<B> output_;
  Index heads_;
};

/// `TwoWayAttentionBlock`.
template <Backend B>
class TwoWayBlock {
 public:
  /// key_pe [M, C], in the backend's memory, must outlive the block. The first block's self
  /// attention has no position encoding and no residual.
  TwoWayBlock(B& backend, const TwoWayBlockWeights& weights, TensorView<const float, 2> key_pe,
              bool first)
      : self_attention_(backend, weights.self_attention),
        norm1_(backend, weights.norm1),
        token_to_image_(backend, weights.token_to_image),
        norm2_(backend, weights.norm2),
        mlp_(backend, weights.lin1, weights.lin2, Activation::relu),
        norm3_(backend, weights.norm3),
        image_projections_(backend,
                           {{weights.token_to_image.key, weights.image_to_token.query},
                            {weights.token_to_image.value}},
                           key_pe),
        token_key_(backend, weights.image_to_token.key),
        token_value_(backend, weights.image_to_token.value),
        image_output_(backend, weights.image_to_token.output),
        image_heads_(weights.image_to_token.heads),
        norm4_(backend, weights.norm4),
        first_(first) {}

  void operator()(nn::Workspace<B>& workspace, const TwoWayState& state) const {
    const auto frame = workspace.frame();
    const auto& [queries, original, keys, query_pe] = state;
    const TensorView<const float, 3> image = first_ ? original : keys;
    const auto rows = nn::as_rows(queries);
    if (first_) {
      const auto attended = workspace.tensor(queries.extents());
      self_attention_(workspace, queries, queries, queries, attended);
      norm1_(workspace, nn::as_rows(attended), rows);
    } else {
      const auto q = nn::sum<B>(workspace, queries, query_pe);
      self_attention_(workspace, q, q, queries, queries, queries);
      norm1_(workspace, rows, rows);
    }

    const auto projected = image_projections_(workspace, image);
    token_to_image_(workspace, queries, query_pe, image_projections_.part(projected, 0),
                    image_projections_.part(projected, 2));
    norm2_(workspace, rows, rows);

    mlp_(workspace, rows, rows, rows);
    norm3_(workspace, rows, rows);

    const auto token_keys =
        nn::project<B>(workspace, token_key_, nn::sum<B>(workspace, queries, query_pe));
    const auto token_values = nn::project<B>(workspace, token_value_, queries);
    nn::attend<B>(workspace, image_heads_, image_projections_.part(projected, 1), token_keys,
                  token_values, image_output_, keys, image);
    norm4_(workspace, nn::as_rows(keys), nn::as_rows(keys));
  }

 private:
  nn::MultiHeadAttention<B> self_attention_;
  nn::LayerNorm<B> norm1_;
  TokenToImageAttention<B> token_to_image_;
  nn::LayerNorm<B> norm2_;
  nn::Mlp<B> mlp_;
  nn::LayerNorm<B> norm3_;
  nn::TokenProjections<B> image_projections_;  ///< keys for the tokens, queries, values
  nn::Linear<B> token_key_;
  nn::Linear<B> token_value_;
  nn::Linear<B> image_output_;
  Index image_heads_;
  nn::LayerNorm<B> norm4_;
  bool first_;
};

/// `TwoWayTransformer`.
template <Backend B>
class TwoWayTransformer {
 public:
  /// key_pe [M, C], in the backend's memory, must outlive the transformer.
  TwoWayTransformer(B& backend, const TwoWayTransformerWeights& weights,
                    TensorView<const float, 2> key_pe)
      : final_projections_(
            backend, {{weights.final_attention.key}, {weights.final_attention.value}}, key_pe),
        final_attention_(backend, weights.final_attention),
        final_norm_(backend, weights.final_norm) {
    for (const TwoWayBlockWeights& block : weights.blocks) {
      blocks_.emplace_back(backend, block, key_pe, blocks_.empty());
    }
  }

  void operator()(nn::Workspace<B>& workspace, const TwoWayState& state) const {
    for (const TwoWayBlock<B>& block : blocks_) block(workspace, state);
    const auto frame = workspace.frame();
    const auto projected = final_projections_(workspace, state.keys);
    final_attention_(workspace, state.queries, state.query_pe,
                     final_projections_.part(projected, 0), final_projections_.part(projected, 1));
    final_norm_(workspace, nn::as_rows(state.queries), nn::as_rows(state.queries));
  }

 private:
  std::vector<TwoWayBlock<B>> blocks_;
  nn::TokenProjections<B> final_projections_;
  TokenToImageAttention<B> final_attention_;
  nn::LayerNorm<B> final_norm_;
};

}  // namespace promiseg

// LiteMedSAM's image encoder. Follows tiny_vit_sam.py of LiteMedSAM: a convolutional first stage,
// then stages of windowed attention with a learned bias and a depth-wise convolution.
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "promiseg/nn/strips.hpp"
#include "promiseg/sam/vit_encoder.hpp"

namespace promiseg {

struct MbConvWeights {
  nn::ConvNormWeights expand;
  nn::ConvNormWeights depthwise;
  nn::ConvNormWeights project;
};

struct TinyVitBlockWeights {
  nn::NormWeights attention_norm;
  nn::LinearWeights qkv;
  nn::LinearWeights projection;
  TensorView<const float, 2> attention_biases;  ///< [heads, window * window]
  nn::ConvNormWeights local_conv;
  nn::NormWeights mlp_norm;
  nn::LinearWeights fc1;
  nn::LinearWeights fc2;
};

struct PatchMergingWeights {
  nn::ConvNormWeights conv1;
  nn::ConvNormWeights conv2;
  nn::ConvNormWeights conv3;
};

struct TinyVitStageWeights {
  std::vector<MbConvWeights> convs;         ///< the first stage's blocks
  std::vector<TinyVitBlockWeights> blocks;  ///< the other stages'
  std::optional<PatchMergingWeights> merging;
};

struct TinyVitWeights {
  nn::ConvNormWeights patch_embed1;
  nn::ConvNormWeights patch_embed2;
  std::vector<TinyVitStageWeights> stages;
  NeckWeights neck;
};

namespace detail {

/// A `Conv2d_BN`: [outputs, inputs, kernel, kernel] without bias, then a batch norm.
inline nn::ConvNormWeights conv_norm_weights(nn::WeightSource& source, const std::string& prefix,
                                             Index outputs, Index inputs, Index kernel) {
  return {nn::conv_weights(source, prefix + ".c", {outputs, inputs, kernel, kernel}, 0),
          nn::batch_norm_weights(source, prefix + ".bn", outputs)};
}

inline TinyVitBlockWeights tiny_vit_block_weights(nn::WeightSource& source,
                                                  const ModelConfig& config, std::size_t stage,
                                                  const std::string& block) {
  constexpr float kEpsilon = 1e-5F;
  const Index width = config.embed_dims[stage];
  const Index window = config.window_sizes[stage];
  const Index hidden = config.mlp_dim(width);
  TinyVitBlockWeights weights;
  weights.attention_norm = nn::norm_weights(source, block + "attn.norm", width, kEpsilon);
  weights.qkv = nn::linear_weights(source, block + "attn.qkv", 3 * width, width);
  weights.projection = nn::linear_weights(source, block + "attn.proj", width, width);
  weights.attention_biases = source.get(block + "attn.attention_biases",
                                        Extents<2>{config.num_heads[stage], window * window});
  weights.local_conv =
      conv_norm_weights(source, block + "local_conv", width, 1, config.local_conv_size);
  weights.mlp_norm = nn::norm_weights(source, block + "mlp.norm", width, kEpsilon);
  weights.fc1 = nn::linear_weights(source, block + "mlp.fc1", hidden, width);
  weights.fc2 = nn::linear_weights(source, block + "mlp.fc2", width, hidden);
  return weights;
}

inline TinyVitStageWeights tiny_vit_stage_weights(nn::WeightSource& source,
                                                  const ModelConfig& config, std::size_t stage) {
  const std::string layer = "image_encoder.layers." + std::to_string(stage) + ".";
  const Index width = config.embed_dims[stage];
  TinyVitStageWeights weights;
  for (Index i = 0; i < config.depths[stage]; ++i) {
    const std::string block = layer + "blocks." + std::to_string(i) + ".";
    if (stage == 0) {
      const Index hidden = width * config.mbconv_expand_ratio;
      weights.convs.push_back({conv_norm_weights(source, block + "conv1", hidden, width, 1),
                               conv_norm_weights(source, block + "conv2", hidden, 1, 3),
                               conv_norm_weights(source, block + "conv3", width, hidden, 1)});
    } else {
      weights.blocks.push_back(tiny_vit_block_weights(source, config, stage, block));
    }
  }
  if (stage + 1 < config.embed_dims.size()) {
    const Index next = config.embed_dims[stage + 1];
    const std::string merging = layer + "downsample.";
    weights.merging =
        PatchMergingWeights{conv_norm_weights(source, merging + "conv1", next, width, 1),
                            conv_norm_weights(source, merging + "conv2", next, 1, 3),
                            conv_norm_weights(source, merging + "conv3", next, next, 1)};
  }
  return weights;
}

}  // namespace detail

inline TinyVitWeights tiny_vit_weights(nn::WeightSource& source, const ModelConfig& config) {
  const Index width = config.embed_dims.front();
  const std::string embed = "image_encoder.patch_embed.seq.";
  TinyVitWeights weights;
  weights.patch_embed1 = detail::conv_norm_weights(source, embed + "0", width / 2, 3, 1);
  weights.patch_embed2 = detail::conv_norm_weights(source, embed + "2", width, width / 2, 1);
  for (std::size_t stage = 0; stage < config.embed_dims.size(); ++stage) {
    weights.stages.push_back(detail::tiny_vit_stage_weights(source, config, stage));
  }
  weights.neck = neck_weights(source, config, config.embed_dims.back());
  return weights;
}

namespace detail {

/// A depth-wise convolution of odd kernel that keeps the size at stride 1.
template <Backend B>
nn::DepthwiseConvNorm<B> depthwise(B& backend, const nn::ConvNormWeights& weights, Index stride) {
  const Index kernel = weights.conv.weight.extent(2);
  return nn::DepthwiseConvNorm<B>(backend, weights, stride, kernel / 2);
}

}  // namespace detail

/// The inverted bottleneck of the first stage (`MBConv`).
template <Backend B>
class MbConv {
 public:
  MbConv(B& backend, const MbConvWeights& weights)
      : expand_(backend, weights.expand),
        depthwise_(detail::depthwise(backend, weights.depthwise, 1)),
        project_(backend, weights.project) {}

  /// Updates the features [h, w, C] in place.
  void operator()(nn::Workspace<B>& workspace, TensorView<float, 3> features) const {
    const auto rows_of = [&features](Index first, Index count) {
      return nn::as_rows(features.slice(0, first, count));
    };
    nn::depthwise_in_strips(
        workspace, depthwise_, {features.extent(0), features.extent(1), expand_.outputs()},
        Activation::gelu,
        [&](Index row, TensorView<float, 3> to) {
          expand_(workspace, rows_of(row, to.extent(0)), nn::as_rows(to), Activation::gelu);
        },
        [&](Index row, TensorView<float, 3> filtered) {
          const auto rows = rows_of(row, filtered.extent(0));
          project_(workspace, nn::as_rows(filtered), rows, Activation::gelu, rows);
        });
  }

 private:
  nn::LinearNorm<B> expand_;
  nn::DepthwiseConvNorm<B> depthwise_;
  nn::LinearNorm<B> project_;
};

/// `TinyViTBlock`: windowed attention, a depth-wise convolution, a perceptron.
template <Backend B>
class TinyVitBlock {
 public:
  TinyVitBlock(B& backend, const TinyVitBlockWeights& weights, Index heads, Index window)
      : attention_norm_(backend, weights.attention_norm),
        qkv_(backend, weights.qkv),
        padding_(make_padding(backend, weights)),
        bias_(make_bias(backend, weights.attention_biases, window)),
        projection_(backend, weights.projection),
        local_conv_(detail::depthwise(backend, weights.local_conv, 1)),
        mlp_norm_(backend, weights.mlp_norm),
        mlp_(backend, weights.fc1, weights.fc2, Activation::gelu),
        heads_(heads),
        window_(window) {}

  /// Updates the features [h, w, C] in place.
  void operator()(nn::Workspace<B>& workspace, TensorView<float, 3> features) const {
    const auto frame = workspace.frame();
    const auto rows = nn::as_rows(features);
    const auto normed = workspace.tensor(rows.extents());

    attention_norm_(workspace, rows, normed);
    attend(workspace, normed, features.extent(0), features.extent(1));
    projection_(workspace, normed, rows, Activation::none, rows);

    const auto filtered = workspace.tensor(features.with_unit_axis(0).extents());
    const auto filtered_rows = nn::as_rows(filtered.select(0, 0));
    local_conv_(workspace, features.with_unit_axis(0), filtered);

    mlp_norm_(workspace, filtered_rows, normed);
    mlp_(workspace, normed, rows, filtered_rows);
  }

 private:
  void attend(nn::Workspace<B>& workspace, TensorView<float, 2> tokens, Index height,
              Index width) const {
    const auto frame = workspace.frame();
    const Index channels = tokens.extent(1);
    const Index depth = channels / heads_;
    const auto qkv = workspace.tensor(Extents<2>{tokens.extent(0), 3 * channels});
    qkv_(workspace, tokens, qkv);
    const auto parts = qkv.reshaped(Extents<5>{height, width, heads_, 3, depth});
    const auto padding = padding_.view().reshaped(Extents<3>{heads_, 3, depth});
    GridAttention attention;
    attention.window = window_;
    attention.scale = 1.0F / std::sqrt(static_cast<float>(depth));
    attention.padding_key = padding.select(1, 1);
    attention.padding_value = padding.select(1, 2);
    attention.bias = bias_.view();
    nn::grid_attention<B>(workspace, parts.select(3, 0), parts.select(3, 1), parts.select(3, 2),
                          attention, tokens.reshaped(Extents<4>{height, width, heads_, depth}));
  }

  /// qkv of a padded token: zero goes through the norm first, so it is W x norm.bias + b.
  static nn::Parameter<1> make_padding(B& backend, const TinyVitBlockWeights& weights) {
    const auto weight = weights.qkv.weight;
    const auto bias = weights.qkv.bias;
    const auto beta = weights.attention_norm.beta;
    Tensor<float, 1> token({weight.extent(0)});
    for (Index o = 0; o < weight.extent(0); ++o) {
      double sum = double{bias(o)};
      for (Index i = 0; i < weight.extent(1); ++i) sum += double{weight(o, i)} * double{beta(i)};
      token.data()[o] = static_cast<float>(sum);
    }
    return {backend, std::as_const(token).view(), [weight, bias, beta](auto& tracker) {
              return [weight, beta, to_weight = tracker.weight_gradient(weight),
                      to_bias = tracker.weight_gradient(bias),
                      to_beta = tracker.weight_gradient(beta)](TensorView<const float, 4> by) {
                for (Index o = 0; o < weight.extent(0); ++o) {
                  const float g = by(0, 0, 0, o);
                  if (to_bias.data() != nullptr) to_bias(o) += g;
                  for (Index i = 0; i < weight.extent(1); ++i) {
                    if (to_weight.data() != nullptr) to_weight(o, i) += g * beta(i);
                    if (to_beta.data() != nullptr) to_beta(i) += g * weight(o, i);
                  }
                }
              };
            }};
  }

  /// Calls `body(head, query, key, column)` for the biases [heads, tokens, tokens] of a window:
  /// the table [heads, window * window] is by |dy| * window + |dx|.
  template <class Body>
  static void for_each_bias(Index heads, Index window, const Body& body) {
    const Index tokens = window * window;
    for (Index head = 0; head < heads; ++head) {
      for (Index q = 0; q < tokens; ++q) {
        for (Index k = 0; k < tokens; ++k) {
          const Index rows = std::abs(q / window - k / window);
          const Index columns = std::abs(q % window - k % window);
          body(head, q, k, rows * window + columns);
        }
      }
    }
  }

  static nn::Parameter<3> make_bias(B& backend, TensorView<const float, 2> table, Index window) {
    const Index tokens = window * window;
    Tensor<float, 3> bias({table.extent(0), tokens, tokens});
    for_each_bias(table.extent(0), window, [&](Index head, Index q, Index k, Index column) {
      bias.view()(head, q, k) = table(head, column);
    });
    return {backend, std::as_const(bias).view(), [table, window](auto& tracker) {
              return [to = tracker.weight_gradient(table), window](TensorView<const float, 4> by) {
                if (to.data() == nullptr) return;
                for_each_bias(to.extent(0), window,
                              [&](Index head, Index q, Index k, Index column) {
                                to(head, column) += by(0, head, q, k);
                              });
              };
            }};
  }

  nn::LayerNorm<B> attention_norm_;
  nn::Linear<B> qkv_;
  nn::Parameter<1> padding_;
  nn::Parameter<3> bias_;
  nn::Linear<B> projection_;
  nn::DepthwiseConvNorm<B> local_conv_;
  nn::LayerNorm<B> mlp_norm_;
  nn::Mlp<B> mlp_;
  Index heads_;
  Index window_;
};

/// `PatchMerging`: wider, and at stride 2 half as fine.
template <Backend B>
class PatchMerging {
 public:
  PatchMerging(B& backend, const PatchMergingWeights& weights, Index stride)
      : conv1_(backend, weights.conv1),
        conv2_(detail::depthwise(backend, weights.conv2, stride)),
        conv3_(backend, weights.conv3) {}

  /// The shape that comes out of [h, w, C].
  Extents<3> output(const Extents<3>& in) const {
    const Extents<4> out = conv2_.output({1, in[0], in[1], conv1_.outputs()});
    return {out[1], out[2], out[3]};
  }

  void operator()(nn::Workspace<B>& workspace, TensorView<const float, 3> in,
                  TensorView<float, 3> out) const {
    nn::depthwise_in_strips(
        workspace, conv2_, {in.extent(0), in.extent(1), conv1_.outputs()}, Activation::gelu,
        [&](Index row, TensorView<float, 3> to) {
          conv1_(workspace, nn::as_rows(in.slice(0, row, to.extent(0))), nn::as_rows(to),
                 Activation::gelu);
        },
        [&](Index row, TensorView<float, 3> merged) {
          conv3_(workspace, nn::as_rows(merged), nn::as_rows(out.slice(0, row, merged.extent(0))));
        });
  }

 private:
  nn::LinearNorm<B> conv1_;
  nn::DepthwiseConvNorm<B> conv2_;
  nn::LinearNorm<B> conv3_;
};

/// `TinyViT` without its classifier, for one image at a time.
template <Backend B>
class TinyVitEncoder {
 public:
  TinyVitEncoder(B& backend, const ModelConfig& config, const TinyVitWeights& weights)
      : patch_embed1_(backend, weights.patch_embed1),
        patch_embed2_(backend, weights.patch_embed2),
        neck_(backend, weights.neck) {
    for (std::size_t i = 0; i < weights.stages.size(); ++i) {
      Stage& stage = stages_.emplace_back();
      for (const auto& conv : weights.stages[i].convs) stage.convs.emplace_back(backend, conv);
      for (const auto& block : weights.stages[i].blocks) {
        stage.blocks.emplace_back(backend, block, config.num_heads[i], config.window_sizes[i]);
      }
      if (weights.stages[i].merging.has_value()) {
        stage.merging.emplace(backend, *weights.stages[i].merging, config.merging_stride(i));
      }
    }
  }

  /// image [1, S, S, 3], embedding [grid, grid, prompt_embed_dim].
  void operator()(nn::Workspace<B>& workspace, TensorView<const float, 4> image,
                  TensorView<float, 3> embedding, const EncoderObserver& observe) const {
    const auto frame = workspace.frame();
    auto features = embed_patches(workspace, image.select(0, 0));
    observe({EncoderStage::Kind::patch_embed, 0, 1, features});
    const auto count = static_cast<Index>(stages_.size());
    for (Index i = 0; i < count; ++i) {
      const Stage& stage = stages_[static_cast<std::size_t>(i)];
      for (const auto& conv : stage.convs) conv(workspace, features);
      for (const auto& block : stage.blocks) block(workspace, features);
      if (stage.merging.has_value()) {
        const auto merged = workspace.tensor(stage.merging->output(features.extents()));
        (*stage.merging)(workspace, features, merged);
        features = merged;
      }
      observe({EncoderStage::Kind::stage, i, count, features});
    }
    neck_(workspace, features, embedding);
  }

 private:
  struct Stage {
    std::vector<MbConv<B>> convs;
    std::vector<TinyVitBlock<B>> blocks;
    std::optional<PatchMerging<B>> merging;
  };

  /// [S, S, 3] to [S, S, C]; both convolutions are 1x1.
  TensorView<float, 3> embed_patches(nn::Workspace<B>& workspace,
                                     TensorView<const float, 3> image) const {
    const Index height = image.extent(0);
    const Index width = image.extent(1);
    const auto features = workspace.tensor(Extents<3>{height, width, patch_embed2_.outputs()});
    const auto frame = workspace.frame();
    const auto hidden = workspace.tensor(Extents<2>{height * width, patch_embed1_.outputs()});
    patch_embed1_(workspace, nn::as_rows(image), hidden, Activation::gelu);
    patch_embed2_(workspace, hidden, nn::as_rows(features));
    return features;
  }

  nn::LinearNorm<B> patch_embed1_;
  nn::LinearNorm<B> patch_embed2_;
  std::vector<Stage> stages_;
  Neck<B> neck_;
};

}  // namespace promiseg

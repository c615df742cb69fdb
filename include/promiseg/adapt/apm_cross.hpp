// APM, attention variant: learned queries attend to encoder features of three depths, each finer
// than the last, and become coordinates (`apm_cross` and `apm_cross_prompt` of the original).
#pragma once

#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "promiseg/adapt/pack_config.hpp"
#include "promiseg/nn/attention.hpp"
#include "promiseg/nn/conv_norm.hpp"
#include "promiseg/nn/norm.hpp"

namespace promiseg {

/// A transposed convolution that doubles the size, a convolution without padding, a batch norm.
struct UpsamplerWeights {
  nn::ConvWeights deconv;
  nn::ConvWeights conv;
  nn::BatchNormWeights norm;
};

struct CrossLayerWeights {
  nn::AttentionWeights attention;
  nn::NormWeights norm1;
  nn::LinearWeights lin1;
  nn::LinearWeights lin2;
  nn::NormWeights norm3;
};

struct ApmCrossWeights {
  TensorView<const float, 2> query_feat;       ///< [points, C]
  TensorView<const float, 2> query_embedding;  ///< [points, C]
  TensorView<const float, 2> level_embedding;  ///< [3, C]
  std::array<UpsamplerWeights, 3> upsamplers;
  std::vector<CrossLayerWeights> layers;
  nn::LinearWeights prompt;
};

namespace detail {

inline constexpr Index kCrossLevels = 3;

/// A `MultiheadAttention`: query, key and value share one packed matrix.
inline nn::AttentionWeights packed_attention_weights(nn::WeightSource& source,
                                                     const std::string& prefix, Index width,
                                                     Index heads) {
  const auto weight = source.get(prefix + ".in_proj_weight", Extents<2>{3 * width, width});
  const auto bias = source.get(prefix + ".in_proj_bias", Extents<1>{3 * width});
  const auto part = [&](Index i) {
    return nn::LinearWeights{weight.slice(0, i * width, width), bias.slice(0, i * width, width)};
  };
  return {part(0), part(1), part(2), nn::linear_weights(source, prefix + ".out_proj", width, width),
          heads};
}

inline CrossLayerWeights cross_layer_weights(nn::WeightSource& source, const std::string& prefix,
                                             Index width, Index heads) {
  constexpr float kEpsilon = 1e-5F;
  CrossLayerWeights weights;
  weights.attention = packed_attention_weights(source, prefix + "cross_attention", width, heads);
  weights.norm1 = nn::norm_weights(source, prefix + "norm1", width, kEpsilon);
  weights.lin1 = nn::linear_weights(source, prefix + "ffn.lin1", 4 * width, width);
  weights.lin2 = nn::linear_weights(source, prefix + "ffn.lin2", width, 4 * width);
  weights.norm3 = nn::norm_weights(source, prefix + "norm3", width, kEpsilon);
  source.known(prefix + "norm2.weight", Extents<1>{width});  // in the checkpoints, unused
  source.known(prefix + "norm2.bias", Extents<1>{width});
  return weights;
}

}  // namespace detail

inline ApmCrossWeights apm_cross_weights(nn::WeightSource& source, const PackConfig& config,
                                         const ModelConfig& model) {
  const Index width = tap_channels(model, config.tap_blocks.front());
  const std::string root = "apm_cross.";
  ApmCrossWeights weights;
  weights.query_feat = source.get(root + "query_feat.weight", Extents<2>{config.point_num, width});
  weights.query_embedding =
      source.get(root + "query_embedding.weight", Extents<2>{config.point_num, width});
  weights.level_embedding =
      source.get(root + "level_embedding.weight", Extents<2>{detail::kCrossLevels, width});
  for (std::size_t i = 0; i < weights.upsamplers.size(); ++i) {
    const std::string prefix = root + "deconv" + std::to_string(i + 1) + ".";
    weights.upsamplers[i] = {
        nn::conv_weights(source, prefix + "deconv", {width, width, 2, 2}, width),
        nn::conv_weights(source, prefix + "conv", {width, width, 3, 3}, width),
        nn::batch_norm_weights(source, prefix + "batchnorm", width)};
  }
  for (Index i = 0; i < detail::kCrossLevels * config.cross_num_layers; ++i) {
    weights.layers.push_back(detail::cross_layer_weights(
        source, root + "layers." + std::to_string(i) + ".", width, config.cross_num_heads));
  }
  weights.prompt = nn::linear_weights(source, "apm_cross_prompt", 2, width);
  return weights;
}

namespace detail {

/// The original's sine position of a grid, [h, w, C]: half of the channels for y, half for x;
/// channel k of a half is the cumulative index, scaled to 2 pi, over k + 1 (not a power of a
/// temperature), its sine for even k and its cosine for odd k.
inline Tensor<float, 3> sine_position(Index height, Index width, Index channels) {
  constexpr float kEpsilon = 1e-6F;
  const Index half = channels / 2;
  const auto value = [](Index at, Index last, Index k) {
    const float scaled = static_cast<float>(at + 1) / (static_cast<float>(last) + kEpsilon) *
                         (2.0F * std::numbers::pi_v<float>);
    const float angle = scaled / static_cast<float>(k + 1);
    return k % 2 == 0 ? std::sin(angle) : std::cos(angle);
  };
  Tensor<float, 3> position({height, width, channels});
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      for (Index k = 0; k < half; ++k) {
        position.view()(y, x, k) = value(y, height, k);
        position.view()(y, x, half + k) = value(x, width, k);
      }
    }
  }
  return position;
}

}  // namespace detail

/// [B, h, w, C] to [B, 2h - 2, 2w - 2, C].
template <Backend B>
class Upsampler {
 public:
  Upsampler(B& backend, const UpsamplerWeights& weights)
      : deconv_(backend, weights.deconv),
        conv_(backend, {weights.conv, weights.norm}, Index{1}, Index{0}) {}

  Extents<4> output(const Extents<4>& in) const { return conv_.output(deconv_.output(in)); }

  void operator()(nn::Workspace<B>& workspace, TensorView<const float, 4> in,
                  TensorView<float, 4> out) const {
    const auto frame = workspace.frame();
    const auto doubled = workspace.tensor(deconv_.output(in.extents()));
    deconv_(workspace, in, doubled);
    conv_(workspace, doubled, out, Activation::relu);
  }

 private:
  nn::ConvTranspose2d<B> deconv_;
  nn::ConvNorm<B> conv_;
};

/// Cross attention, then a perceptron, each with its norm behind it.
template <Backend B>
class CrossLayer {
 public:
  CrossLayer(B& backend, const CrossLayerWeights& weights)
      : attention_(backend, weights.attention),
        norm1_(backend, weights.norm1),
        mlp_(backend, weights.lin1, weights.lin2, Activation::gelu),
        norm3_(backend, weights.norm3) {}

  /// queries [B, N, C] updated; query_position [B, N, C]; keys and values [B, M, C].
  void operator()(nn::Workspace<B>& workspace, TensorView<float, 3> queries,
                  TensorView<const float, 3> query_position, TensorView<const float, 3> keys,
                  TensorView<const float, 3> values) const {
    const auto frame = workspace.frame();
    const auto positioned = nn::sum<B>(workspace, queries, query_position);
    attention_(workspace, positioned, keys, values, queries, queries);
    const auto rows = nn::as_rows(queries);
    norm1_(workspace, rows, rows);
    mlp_(workspace, rows, rows, rows);
    norm3_(workspace, rows, rows);
  }

 private:
  nn::MultiHeadAttention<B> attention_;
  nn::LayerNorm<B> norm1_;
  nn::Mlp<B> mlp_;
  nn::LayerNorm<B> norm3_;
};

template <Backend B>
class ApmCross {
 public:
  /// `grid` is the side of the features.
  ApmCross(B& backend, const ApmCrossWeights& weights, Index grid)
      : query_feat_(backend, weights.query_feat),
        query_embedding_(backend, weights.query_embedding),
        level_embedding_(backend, weights.level_embedding),
        upsamplers_{Upsampler<B>(backend, weights.upsamplers[0]),
                    Upsampler<B>(backend, weights.upsamplers[1]),
                    Upsampler<B>(backend, weights.upsamplers[2])},
        prompt_(backend, weights.prompt) {
    for (const CrossLayerWeights& layer : weights.layers) layers_.emplace_back(backend, layer);
    const Index channels = weights.query_feat.extent(1);
    Index side = grid;
    for (auto& position : positions_) {
      position = {backend, detail::sine_position(side, side, channels).view()};
      side = 2 * side - 2;
    }
  }

  /// taps: three features [B, h, w, C] on the backend, deepest first; logits [B, 2 * points].
  void operator()(nn::Workspace<B>& workspace, const std::vector<TensorView<float, 4>>& taps,
                  TensorView<float, 2> logits) const {
    const auto frame = workspace.frame();
    const Extents<2> query = query_feat_.view().extents();
    const auto queries = workspace.tensor(Extents<3>{logits.extent(0), query[0], query[1]});
    workspace.backend().copy(repeated(query_feat_, queries.extents()).with_unit_axis(0),
                             queries.with_unit_axis(0));
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      attend(workspace, i, taps[i % positions_.size()], queries);
    }
    const Index points = queries.extent(0) * queries.extent(1);
    prompt_(workspace, queries.reshaped(Extents<2>{points, query[1]}),
            logits.reshaped(Extents<2>{points, 2}));
  }

 private:
  /// Layer `index` over one level: level 0 as it is, 1 enlarged once, 2 twice.
  void attend(nn::Workspace<B>& workspace, std::size_t index, TensorView<const float, 4> tap,
              TensorView<float, 3> queries) const {
    const auto frame = workspace.frame();
    const std::size_t level = index % positions_.size();
    auto features = workspace.tensor(tap.extents());
    workspace.backend().copy(tap, features);
    if (level == 1) features = enlarge(workspace, upsamplers_[0], features);
    if (level == 2) {
      features = enlarge(workspace, upsamplers_[1], features);
      features = enlarge(workspace, upsamplers_[2], features);
    }
    B& backend = workspace.backend();
    const auto embedding = level_embedding_.view().slice(0, static_cast<Index>(level), 1);
    backend.add(features,
                embedding.with_unit_axis(0).with_unit_axis(0).broadcast_to(features.extents()),
                features);
    const auto keys = workspace.tensor(features.extents());
    const auto position = positions_[level].view().with_unit_axis(0);
    backend.add(features, position.broadcast_to(features.extents()), keys);
    const Extents<3> flat{features.extent(0), features.extent(1) * features.extent(2),
                          features.extent(3)};
    layers_[index](workspace, queries, repeated(query_embedding_, queries.extents()),
                   keys.reshaped(flat), features.reshaped(flat));
  }

  /// [N, C] for every item of [B, N, C].
  static TensorView<const float, 3> repeated(const nn::Parameter<2>& queries,
                                             const Extents<3>& extents) {
    return queries.view().with_unit_axis(0).broadcast_to(extents);
  }

  static TensorView<float, 4> enlarge(nn::Workspace<B>& workspace, const Upsampler<B>& upsampler,
                                      TensorView<const float, 4> features) {
    const auto out = workspace.tensor(upsampler.output(features.extents()));
    upsampler(workspace, features, out);
    return out;
  }

  nn::Parameter<2> query_feat_;
  nn::Parameter<2> query_embedding_;
  nn::Parameter<2> level_embedding_;
  std::array<Upsampler<B>, 3> upsamplers_;
  std::array<nn::Parameter<3>, detail::kCrossLevels> positions_;
  std::vector<CrossLayer<B>> layers_;
  nn::Linear<B> prompt_;
};

}  // namespace promiseg

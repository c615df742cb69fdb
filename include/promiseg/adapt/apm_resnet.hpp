// APM, convolutional variant: encoder features side by side, fused, through a ResNet to coordinates
// (`apm_feature_map` and `apm_resnet` of the original).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "promiseg/adapt/pack_config.hpp"
#include "promiseg/nn/conv_norm.hpp"

namespace promiseg {

struct ResidualBlockWeights {
  nn::ConvNormWeights conv1;
  nn::ConvNormWeights conv2;
  std::optional<nn::ConvNormWeights> shortcut;
  Index stride = 1;
};

struct ApmResnetWeights {
  std::array<nn::ConvWeights, 3> fusion;
  nn::ConvNormWeights stem;
  std::vector<ResidualBlockWeights> blocks;
  nn::LinearWeights fc;
};

/// Channels of the fused features, and of the ResNet's four layers.
inline constexpr Index kFusedChannels = 256;
inline constexpr std::array<Index, 4> kResnetWidths = {64, 128, 256, 512};

inline ApmResnetWeights apm_resnet_weights(nn::WeightSource& source, const PackConfig& config,
                                           const ModelConfig& model) {
  constexpr Index kUnusedOutputs = 1024;  // of fc2, which the checkpoints hold and nothing reads
  const std::string resnet = "apm_resnet.";
  const auto conv_norm = [&](const std::string& conv, const std::string& norm, Index outputs,
                             Index inputs, Index kernel) {
    return nn::ConvNormWeights{nn::conv_weights(source, conv, {outputs, inputs, kernel, kernel}, 0),
                               nn::batch_norm_weights(source, norm, outputs)};
  };
  ApmResnetWeights weights;
  Index inputs = 0;
  for (Index tap : config.tap_blocks) inputs += tap_channels(model, tap);
  for (std::size_t i = 0; i < weights.fusion.size(); ++i) {
    weights.fusion[i] =
        nn::conv_weights(source, "apm_feature_map.fusion_conv" + std::to_string(i + 1),
                         {kFusedChannels, inputs, 3, 3}, kFusedChannels);
    inputs = kFusedChannels;
  }
  Index width = kResnetWidths.front();
  weights.stem = conv_norm(resnet + "conv1", resnet + "bn1", width, kFusedChannels, 3);
  for (std::size_t layer = 0; layer < kResnetWidths.size(); ++layer) {
    const Index count = config.resnet_blocks[layer];
    for (Index i = 0; i < count; ++i) {
      const std::string prefix =
          resnet + "layer" + std::to_string(layer + 1) + "." + std::to_string(i) + ".";
      const Index outputs = kResnetWidths[layer];
      ResidualBlockWeights& block = weights.blocks.emplace_back();
      block.stride = layer > 0 && i == 0 ? 2 : 1;
      block.conv1 = conv_norm(prefix + "conv1", prefix + "bn1", outputs, width, 3);
      block.conv2 = conv_norm(prefix + "conv2", prefix + "bn2", outputs, outputs, 3);
      // The original's last block has a projection although it needs none.
      const bool last = layer + 1 == kResnetWidths.size() && i + 1 == count;
      if (block.stride != 1 || width != outputs || last) {
        block.shortcut = conv_norm(prefix + "shortcut.0", prefix + "shortcut.1", outputs, width, 1);
      }
      width = outputs;
    }
  }
  weights.fc = nn::linear_weights(source, resnet + "fc", 2 * config.point_num, width);
  source.known(resnet + "fc2.weight", Extents<2>{kUnusedOutputs, width});
  source.known(resnet + "fc2.bias", Extents<1>{kUnusedOutputs});
  return weights;
}

/// A BasicBlock: two 3x3 convolutions and a way around them.
template <Backend B>
class ResidualBlock {
 public:
  ResidualBlock(B& backend, const ResidualBlockWeights& weights)
      : conv1_(backend, weights.conv1, weights.stride, Index{1}),
        conv2_(backend, weights.conv2, Index{1}, Index{1}) {
    if (weights.shortcut.has_value()) {
      shortcut_.emplace(backend, *weights.shortcut, weights.stride, Index{0});
    }
  }

  Extents<4> output(const Extents<4>& in) const { return conv2_.output(conv1_.output(in)); }

  void operator()(nn::Workspace<B>& workspace, TensorView<const float, 4> in,
                  TensorView<float, 4> out) const {
    const auto frame = workspace.frame();
    const auto hidden = workspace.tensor(conv1_.output(in.extents()));
    conv1_(workspace, in, hidden, Activation::relu);
    TensorView<const float, 4> around = in;
    if (shortcut_.has_value()) {
      (*shortcut_)(workspace, in, out);
      around = out;
    }
    conv2_(workspace, hidden, out, Activation::relu, around);
  }

 private:
  nn::ConvNorm<B> conv1_;
  nn::ConvNorm<B> conv2_;
  std::optional<nn::ConvNorm<B>> shortcut_;
};

template <Backend B>
class ApmResnet {
 public:
  ApmResnet(B& backend, const ApmResnetWeights& weights)
      : fusion_{nn::Conv2d<B>(backend, weights.fusion[0], 1, 1),
                nn::Conv2d<B>(backend, weights.fusion[1], 1, 1),
                nn::Conv2d<B>(backend, weights.fusion[2], 1, 1)},
        stem_(backend, weights.stem, Index{1}, Index{1}),
        fc_(backend, weights.fc) {
    for (const ResidualBlockWeights& block : weights.blocks) blocks_.emplace_back(backend, block);
  }

  /// taps: features [B, h, w, C_i] on the backend in the order of concatenation; fused
  /// [B, h, w, 256] and logits [B, 2 * points] are written.
  void operator()(nn::Workspace<B>& workspace, const std::vector<TensorView<float, 4>>& taps,
                  TensorView<float, 4> fused, TensorView<float, 2> logits) const {
    const auto frame = workspace.frame();
    fuse(workspace, taps, fused);
    auto features = workspace.tensor(stem_.output(fused.extents()));
    stem_(workspace, fused, features, Activation::relu);
    constexpr ConvGeometry kPool{3, 2, 1};
    const auto pooled =
        workspace.tensor(Extents<4>{features.extent(0), kPool.output(features.extent(1)),
                                    kPool.output(features.extent(2)), features.extent(3)});
    workspace.backend().max_pool2d(features, kPool, pooled);
    features = pooled;
    for (const ResidualBlock<B>& block : blocks_) {
      const auto next = workspace.tensor(block.output(features.extents()));
      block(workspace, features, next);
      features = next;
    }
    const auto mean = workspace.tensor(Extents<2>{features.extent(0), features.extent(3)});
    workspace.backend().mean_pixels(features, mean);
    fc_(workspace, mean, logits);
  }

 private:
  /// Concatenates the taps on channels and runs the three convolutions, ReLU between them.
  void fuse(nn::Workspace<B>& workspace, const std::vector<TensorView<float, 4>>& taps,
            TensorView<float, 4> fused) const {
    const auto frame = workspace.frame();
    Index channels = 0;
    for (const auto& tap : taps) channels += tap.extent(3);
    const auto joined =
        workspace.tensor(Extents<4>{fused.extent(0), fused.extent(1), fused.extent(2), channels});
    Index at = 0;
    for (const auto& tap : taps) {
      workspace.backend().copy(tap, joined.slice(3, at, tap.extent(3)));
      at += tap.extent(3);
    }
    const auto first = workspace.tensor(fused.extents());
    const auto second = workspace.tensor(fused.extents());
    fusion_[0](workspace, joined, first, Activation::relu);
    fusion_[1](workspace, first, second, Activation::relu);
    fusion_[2](workspace, second, fused);
  }

  std::array<nn::Conv2d<B>, 3> fusion_;
  nn::ConvNorm<B> stem_;
  std::vector<ResidualBlock<B>> blocks_;
  nn::Linear<B> fc_;
};

}  // namespace promiseg

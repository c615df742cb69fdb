// What a new pack begins with.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "promiseg/adapt/pack_config.hpp"
#include "promiseg/core/random.hpp"
#include "promiseg/sam/model_file.hpp"
#include "promiseg/train/parameters.hpp"

namespace promiseg::train {

/// Random weights by name, shape and seed, the same on every machine. Convolutions are scaled for
/// ReLU (He et al., 2015), linear layers as PyTorch scales them; batch norms begin as the identity.
/// IPS begins with no shift, so a new pack is the frozen model. APM by ResNet begins with its
/// points spread over the frame, box corners in their quarters of it; by attention, near the
/// middle.
class InitialWeights : public nn::WeightSource {
 public:
  /// Where `file` is given and holds a tensor, it begins with that one instead; the file must
  /// outlive this.
  InitialWeights(const PackConfig& config, std::uint64_t seed,
                 const SafetensorsFile* file = nullptr)
      : config_(config), seed_(seed), file_(file) {
    if (file != nullptr) stored_.emplace(*file);
  }

 private:
  const float* find(const std::string& name, std::span<const Index> shape) override {
    if (file_ != nullptr && file_->contains(name)) return fetch(*stored_, name, shape);
    auto [place, added] = tensors_.try_emplace(name);
    std::vector<float>& values = place->second;
    if (added) {
      Index count = 1;
      for (Index extent : shape) count *= extent;
      values.resize(static_cast<std::size_t>(count));
      fill(name, shape, values);
    }
    return values.data();
  }

  void fill(const std::string& name, std::span<const Index> shape, std::vector<float>& values) {
    Random random(seed_, stream(name));
    if (name == "apm_resnet.fc.bias") {
      spread_points(values, random);
    } else if (name.ends_with("running_var") || (name.ends_with("weight") && shape.size() == 1)) {
      std::fill(values.begin(), values.end(), 1.0F);
    } else if (name.starts_with("ips_ffn.lin2.") || shape.size() == 1) {
      // Zero: no shift, and biases that other layers make up for.
    } else if (name.ends_with("query_feat.weight") || name.find("_embedding.") != name.npos) {
      for (float& value : values) value = static_cast<float>(random.normal());
    } else {
      const auto inputs = static_cast<double>(values.size()) / static_cast<double>(shape[0]);
      double bound = std::sqrt((shape.size() == 4 ? 6.0 : 1.0) / inputs);
      if (name == "apm_resnet.fc.weight") bound *= kHeadScale;
      for (float& value : values) value = static_cast<float>(random.uniform(-bound, bound));
    }
  }

  /// Logits of positions in (0, 1); x and y by turns.
  void spread_points(std::vector<float>& values, Random& random) const {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Index label = config_.point_value[i / 2];
      double position = random.uniform(0.2, 0.8);
      if (label == 2) position = 0.25;
      if (label == 3) position = 0.75;
      values[i] = static_cast<float>(std::log(position / (1 - position)));
    }
  }

  static std::uint64_t stream(const std::string& name) {
    std::uint64_t hash = 0;
    for (char letter : name) hash = mix_bits(hash ^ static_cast<unsigned char>(letter));
    return hash;
  }

  static constexpr double kHeadScale = 0.1;  // points move little until the features mean something

  PackConfig config_;
  std::uint64_t seed_;
  const SafetensorsFile* file_;
  std::optional<FileWeights> stored_;
  std::map<std::string, std::vector<float>> tensors_;
};

}  // namespace promiseg::train

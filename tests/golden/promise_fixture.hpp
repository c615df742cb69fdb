// Fixtures of the paper's modules over recorded features.
#pragma once

#include <string>

#include "fixture.hpp"
#include "golden.hpp"
#include "promiseg/adapt/pack.hpp"

namespace promiseg_test {

/// The fixtures' integers as the features they stand for; [1, ...] of one item.
template <std::size_t Rank>
Tensor<float, Rank> features(const SafetensorsFile& fixture, const std::string& name, Index item) {
  const auto stored = fixture.view<std::uint8_t, Rank + 1>(name).select(0, item);
  Tensor<float, Rank> result(stored.extents());
  for_each_pair(result.view(), stored, [](float& value, std::uint8_t integer) {
    value = (static_cast<float>(integer) - 128.0F) / 32.0F;
  });
  return result;
}

inline Tensor<float, 3> channels_last(const Tensor<float, 3>& image) {
  return Tensor<float, 3>(image.view().permuted({1, 2, 0}));
}

/// A decoder like the fixture's behind a small encoder that is not used.
inline ModelConfig decoder_config(const SafetensorsFile& fixture) {
  const Json settings = fixture_settings(fixture);
  ModelConfig config = fixture_config(fixture, "vit_b");
  config.image_size = 1024;
  config.patch_size = config.image_size / static_cast<Index>(settings.at("grid").as_integer());
  config.encoder_embed_dim = static_cast<Index>(settings.at("feature_dim").as_integer());
  config.encoder_num_heads = 4;
  validate(config);
  return config;
}

inline PackConfig pack_config(const SafetensorsFile& fixture, const ModelConfig& model,
                              ApmKind kind) {
  PackConfig config;
  config.apm = kind;
  config.ips = fixture.contains("eval.ips.token") || fixture.contains("ips.token");
  const Json settings = fixture_settings(fixture);
  if (const Json* blocks = settings.find("resnet_blocks")) {
    detail::from_json_value(*blocks, config.resnet_blocks);
  }
  validate(config, model);
  return config;
}

}  // namespace promiseg_test

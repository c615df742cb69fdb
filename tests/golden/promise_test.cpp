// The paper's modules: APM in both variants and IPS, from recorded features and from an image.
#include <doctest/doctest.h>

#include <map>
#include <string>

#include "fixture.hpp"
#include "golden.hpp"
#include "promise_fixture.hpp"

using namespace promiseg_test;

namespace {

template <Backend B>
Adapter<B> make_adapter(B& backend, const PackConfig& config, const ModelConfig& model,
                        std::uint64_t seed) {
  tools::SynthWeights weights(seed);
  return {backend, config, model, pack_weights(weights, config, model)};
}

/// Points in the model's frame as a prompt with the pack's labels.
Prompt point_prompt(const Tensor<float, 2>& coordinates, const PackConfig& config) {
  Prompt prompt;
  for (Index i = 0; i < coordinates.extent(0); ++i) {
    prompt.points.push_back({coordinates.view()(i, 0), coordinates.view()(i, 1),
                             static_cast<int>(config.point_value[static_cast<std::size_t>(i)])});
  }
  return prompt;
}

/// The numbers that are recorded for one image of a fixture; not all are for every fixture.
struct Recorded {
  const SafetensorsFile& fixture;
  std::string prefix;  ///< "eval." or ""
  Index item;

  bool has(const std::string& name) const { return fixture.contains(prefix + name); }
  template <std::size_t Rank>
  TensorView<const float, Rank> get(const std::string& name) const {
    return fixture.view<float, Rank>(prefix + name).slice(0, item, 1);
  }
};

/// Runs the modules and the decoder, and compares every stage.
template <Backend B>
void check_modules(const std::string& name, const Recorded& recorded, Adapter<B>& adapter,
                   SamModel<B>& model, const std::map<Index, Tensor<float, 3>>& taps,
                   const Tensor<float, 3>& embedding, const Extents<4>& fused_steps) {
  const PredictedPoints predicted = adapter.predict_points(taps);
  if (recorded.has("fused")) {
    check_close(name + " fused", every(fused_steps, channels_first(predicted.fused.view())),
                recorded.get<4>("fused"), kEncoderStage);
  }
  check_within(name + " points", predicted.coordinates.view().with_unit_axis(0),
               recorded.get<3>("points"), kPointsAbsolute);
  const Tensor<float, 2> shift = adapter.token_shift(embedding);
  CHECK(shift.empty() == !adapter.config().ips);
  if (adapter.config().ips) {
    check_close(name + " token shift", shift.view().with_unit_axis(0), recorded.get<3>("ips.token"),
                kTokenShift);
  }
  Prompts prompts;
  prompts.push_back(point_prompt(predicted.coordinates, adapter.config()));
  const DecodedMasks decoded =
      model.decode(embedding.view(), prompts,
                   shift.empty() ? TensorView<const float, 2>{} : std::as_const(shift).view());
  if (recorded.has("low_res")) {
    check_close(name + " low_res", decoded.logits.view().slice(1, adapter.config().mask_token, 1),
                recorded.get<4>("low_res"), kMaskLogits);
  }
  check_within(name + " iou", decoded.iou.view().slice(1, 1, 3), recorded.get<2>("iou"),
               kIouAbsolute);
}

void check_recorded_features(const std::string& fixture_name, ApmKind kind) {
  const SafetensorsFile fixture = open_fixture(fixture_name);
  const ModelConfig model_config = decoder_config(fixture);
  const PackConfig config = pack_config(fixture, model_config, kind);
  const std::uint64_t seed = fixture_weights_seed(fixture);
  for_each_instruction_set([&](const std::string& name, auto backend) {
    using B = decltype(backend);
    SamModel<B> model = synthetic_model(backend, model_config, seed);
    Adapter<B> adapter = make_adapter(backend, config, model_config, seed);
    for (Index item = 0; item < fixture.at("eval.points").shape[0]; ++item) {
      std::map<Index, Tensor<float, 3>> taps;
      for (Index tap : config.tap_blocks) {
        // The convolutional variant's features are recorded channels first.
        const auto tensor = features<3>(fixture, "f" + std::to_string(tap) + "_u8", item);
        taps[tap] = kind == ApmKind::resnet ? channels_last(tensor) : tensor;
      }
      const Tensor<float, 3> embedding =
          channels_last(features<3>(fixture, "image_embeddings_u8", item));
      check_modules<B>(name + " item " + std::to_string(item), {fixture, "eval.", item}, adapter,
                       model, taps, embedding, {1, 8, 2, 2});
    }
  });
}

}  // namespace

TEST_CASE("promise_tiny_resnet: features to mask, with and without IPS") {
  check_recorded_features("promise_tiny_resnet", ApmKind::resnet);
  check_recorded_features("promise_tiny_resnet_noips", ApmKind::resnet);
}

TEST_CASE("promise_tiny_cross: features to mask") {
  check_recorded_features("promise_tiny_cross", ApmKind::cross);
}

TEST_CASE("vit_small: image to mask through APM and IPS, on every backend") {
  const SafetensorsFile fixture = open_fixture("vit_small_synth");
  const ModelConfig model_config = fixture_config(fixture, "vit_b");
  const PackConfig config = pack_config(fixture, model_config, ApmKind::resnet);
  const std::uint64_t seed = fixture_weights_seed(fixture);
  for_each_backend([&](const std::string& name, auto backend) {
    using B = decltype(backend);
    SamModel<B> model = synthetic_model(backend, model_config, seed);
    Adapter<B> adapter = make_adapter(backend, config, model_config, seed);
    const EncodedImage image =
        model.encode(fixture_image(fixture).view(), config.tap_blocks, ignore_stages);
    check_modules<B>(name, {fixture, "", 0}, adapter, model, image.taps, image.embedding,
                     {1, 8, 4, 4});
  });
}

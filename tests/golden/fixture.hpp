// Recorded inputs and outputs of the original code, and models to run on them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "promiseg/backend/reference.hpp"
#include "promiseg/eigen/backend.hpp"
#include "promiseg/io/safetensors.hpp"
#include "promiseg/sam/sam_model.hpp"
#include "synth.hpp"

namespace promiseg_test {

using namespace promiseg;

inline SafetensorsFile open_fixture(const std::string& name) {
  return SafetensorsFile(PROMISEG_TEST_DATA "/fixtures/" + name + ".safetensors");
}

/// The hyper-parameters under which a fixture was recorded.
inline Json fixture_settings(const SafetensorsFile& fixture) {
  return Json::parse(fixture.metadata().at("config"));
}

/// A published config with those fields that the fixture sets otherwise.
inline ModelConfig fixture_config(const SafetensorsFile& fixture, const std::string& arch) {
  ModelConfig config = published_config(arch);
  const Json settings = fixture_settings(fixture);
  const Json published = to_json(config);
  Json fields;
  for (const auto& [name, value] : published.as_object()) {
    if (const Json* set = settings.find(name)) fields.set(name, *set);
  }
  apply_json(fields, config);
  validate(config);
  return config;
}

/// The prompts of a case: tensors `prefix` + point_coords, point_labels, boxes and mask_input, as
/// far as they are there; else one empty prompt.
inline Prompts fixture_prompts(const SafetensorsFile& fixture, const std::string& prefix) {
  Prompts prompts;
  const auto reserve = [&](Index count) { prompts.resize(static_cast<std::size_t>(count)); };
  const auto at = [&](Index item) -> Prompt& { return prompts[static_cast<std::size_t>(item)]; };
  if (fixture.contains(prefix + "point_coords")) {
    const auto points = fixture.view<float, 3>(prefix + "point_coords");
    const auto labels = fixture.view<std::int64_t, 2>(prefix + "point_labels");
    reserve(points.extent(0));
    for (Index i = 0; i < points.extent(0); ++i) {
      for (Index n = 0; n < points.extent(1); ++n) {
        at(i).points.push_back({points(i, n, 0), points(i, n, 1), static_cast<int>(labels(i, n))});
      }
    }
  }
  if (fixture.contains(prefix + "boxes")) {
    const auto boxes = fixture.view<float, 2>(prefix + "boxes");
    reserve(boxes.extent(0));
    for (Index i = 0; i < boxes.extent(0); ++i) {
      at(i).box = BoxPrompt{boxes(i, 0), boxes(i, 1), boxes(i, 2), boxes(i, 3)};
    }
  }
  if (fixture.contains(prefix + "mask_input")) {
    const auto masks = fixture.view<float, 4>(prefix + "mask_input");
    reserve(masks.extent(0));
    for (Index i = 0; i < masks.extent(0); ++i) {
      at(i).mask_logits = Tensor<float, 2>(masks.select(0, i).select(0, 0));
    }
  }
  if (prompts.empty()) reserve(1);
  return prompts;
}

/// Calls `body(name, backend)` for the CPU backend with every instruction set of this processor.
template <class Body>
void for_each_instruction_set(const Body& body, Precision precision = Precision::fp32) {
  for (eigen::Isa isa : eigen::distinct_isas(precision)) {
    const std::string name = "eigen/" + std::string(to_string(isa));
    body(name + (precision == Precision::fp32 ? "" : "/" + std::string(to_string(precision))),
         EigenBackend({.instruction_set = isa, .precision = precision}));
  }
}

/// As `for_each_instruction_set`, and for the reference backend.
template <class Body>
void for_each_backend(const Body& body) {
  body("reference", ReferenceBackend());
  for_each_instruction_set(body);
}

/// A model with synthetic weights; in memory only.
template <Backend B>
SamModel<B> synthetic_model(B& backend, const ModelConfig& config, std::uint64_t seed) {
  tools::SynthWeights weights(seed);
  return SamModel<B>(backend, config, sam_weights(weights, config));
}

/// The synthetic image of a fixture, [S, S, 3].
inline Tensor<float, 3> fixture_image(const SafetensorsFile& fixture) {
  const Json settings = fixture_settings(fixture);
  const Index side = static_cast<Index>(settings.at("image_size").as_integer());
  const auto seed = static_cast<std::uint64_t>(settings.at("image_seed").as_integer());
  const Tensor<float, 3> image = tools::synth_image(side, side, seed);
  return Tensor<float, 3>(image.view().permuted({1, 2, 0}));
}

inline std::uint64_t fixture_weights_seed(const SafetensorsFile& fixture) {
  return static_cast<std::uint64_t>(fixture_settings(fixture).at("weights_seed").as_integer());
}

inline void ignore_stages(const EncoderStage& /*stage*/) {}

/// The embedding [grid, grid, C] of an input [S, S, 3].
template <Backend B>
Tensor<float, 3> encode(SamModel<B>& model, const Tensor<float, 3>& input,
                        const EncoderObserver& observe = ignore_stages) {
  return model.encode(input.view(), {}, observe).embedding;
}

}  // namespace promiseg_test

// All weights of a SAM, and the list of what a config needs.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "promiseg/sam/mask_decoder.hpp"
#include "promiseg/sam/prompt_encoder.hpp"
#include "promiseg/sam/tiny_vit_encoder.hpp"
#include "promiseg/sam/vit_encoder.hpp"

namespace promiseg {

/// Host views of every tensor; they live as long as the source they came from.
struct SamWeights {
  std::variant<VitWeights, TinyVitWeights> image_encoder;
  PromptEncoderWeights prompt_encoder;
  MaskDecoderWeights mask_decoder;
};

/// Asks the source for every tensor of the model. Throws what the source throws.
inline SamWeights sam_weights(nn::WeightSource& source, const ModelConfig& config) {
  SamWeights weights;
  if (config.encoder == EncoderKind::vit) {
    weights.image_encoder = vit_weights(source, config);
  } else {
    weights.image_encoder = tiny_vit_weights(source, config);
  }
  weights.prompt_encoder = prompt_encoder_weights(source, config);
  weights.mask_decoder = mask_decoder_weights(source, config);
  return weights;
}

/// The name and shape of a weight tensor.
struct TensorSpec {
  std::string name;
  std::vector<Index> shape;
};

/// A source that gives nothing and remembers what it was asked for.
class SpecRecorder : public nn::WeightSource {
 public:
  std::vector<TensorSpec> take() { return std::move(specs_); }

 private:
  const float* find(const std::string& name, std::span<const Index> shape) override {
    specs_.push_back({name, {shape.begin(), shape.end()}});
    return nullptr;
  }

  std::vector<TensorSpec> specs_;
};

/// Every tensor that a model of this config has, in the order of the original state dicts'
/// modules. Found by asking for all of them.
inline std::vector<TensorSpec> sam_tensor_specs(const ModelConfig& config) {
  SpecRecorder recorder;
  sam_weights(recorder, config);
  return recorder.take();
}

}  // namespace promiseg

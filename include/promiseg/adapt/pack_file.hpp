// A pack on disk: the paper's modules, trained for one frozen model, without the model.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "promiseg/adapt/apm_cross.hpp"
#include "promiseg/adapt/apm_resnet.hpp"
#include "promiseg/adapt/ips.hpp"
#include "promiseg/sam/model_file.hpp"
#include "promiseg/sam/sam_weights.hpp"

namespace promiseg {

/// What a pack file says about itself besides its config.
struct PackProvenance {
  std::string model_sha256;  ///< `weights_sha256` of the model it belongs to
  std::string model_name;    ///< for messages: the architecture and source of that model
  std::string source;        ///< the file or the rule the weights came from
  std::string weights_sha256;
  std::string licence;
  Json training;  ///< a summary of how it was trained; null if unknown
};

/// Host views of a decoder with its prompts.
struct DecoderWeights {
  PromptEncoderWeights prompts;
  MaskDecoderWeights masks;
};

/// Host views of a pack's tensors.
struct PackWeights {
  std::variant<std::monostate, ApmResnetWeights, ApmCrossWeights> apm;
  std::optional<IpsWeights> ips;
  std::optional<DecoderWeights> decoder;
};

/// Asks the source for every tensor of the pack. Throws what the source throws.
inline PackWeights pack_weights(nn::WeightSource& source, const PackConfig& config,
                                const ModelConfig& model) {
  PackWeights weights;
  if (config.apm == ApmKind::resnet) weights.apm = apm_resnet_weights(source, config, model);
  if (config.apm == ApmKind::cross) weights.apm = apm_cross_weights(source, config, model);
  if (config.ips) weights.ips = ips_weights(source, config, model);
  if (config.decoder) {
    weights.decoder = {prompt_encoder_weights(source, model), mask_decoder_weights(source, model)};
  }
  return weights;
}

/// Every tensor of a pack of this config for this model, what is known but unused included.
inline std::vector<TensorSpec> pack_tensor_specs(const PackConfig& config,
                                                 const ModelConfig& model) {
  SpecRecorder recorder;
  pack_weights(recorder, config, model);
  return recorder.take();
}

/// An open pack file.
class PackFile {
 public:
  /// Throws `not_found`, `io`, `bad_format` (not a pack, truncated), `unsupported` (of a newer
  /// format) or `invalid_argument` (a config that contradicts itself), naming the file. Whether the
  /// config fits a model, `validate(PackConfig, ModelConfig)` says.
  explicit PackFile(const std::filesystem::path& path) : file_(path) {
    const auto metadata = file_.metadata().find(kMetadataKey);
    require(metadata != file_.metadata().end(), ErrorCode::bad_format, file_.name(),
            ": this safetensors file does not describe a promiseg pack");
    try {
      const Json json = Json::parse(metadata->second);
      const std::int64_t version = json.at("format_version").as_integer();
      require(version == kFormatVersion, ErrorCode::unsupported, "format version ", version,
              ", this program reads ", kFormatVersion);
      const std::string& kind = json.at("kind").as_string();
      require(kind == "pack", ErrorCode::bad_format, "expected a pack, got: ", kind);
      apply_json(json.at("config"), config_);
      validate(config_);
      provenance_ = {json.at("model_sha256").as_string(), json.at("model_name").as_string(),
                     json.at("source").as_string(),       json.at("weights_sha256").as_string(),
                     json.at("licence").as_string(),      json.at("training")};
    } catch (const Error& error) {
      fail(error.code(), file_.name(), ": ", error.what());
    }
  }

  const std::string& name() const { return file_.name(); }
  const PackConfig& config() const { return config_; }
  const PackProvenance& provenance() const { return provenance_; }
  const SafetensorsFile& file() const { return file_; }

 private:
  SafetensorsFile file_;
  PackConfig config_;
  PackProvenance provenance_;
};

/// The metadata value of a pack file.
inline std::string pack_metadata(const PackConfig& config, const PackProvenance& provenance) {
  Json json;
  json.set("format_version", kFormatVersion);
  json.set("kind", "pack");
  json.set("config", to_json(config));
  json.set("model_sha256", provenance.model_sha256);
  json.set("model_name", provenance.model_name);
  json.set("source", provenance.source);
  json.set("weights_sha256", provenance.weights_sha256);
  json.set("licence", provenance.licence);
  json.set("training", provenance.training);
  return json.dump();
}

}  // namespace promiseg

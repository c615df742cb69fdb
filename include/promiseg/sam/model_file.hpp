// A model on disk: a safetensors file whose metadata key "promiseg" describes it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "promiseg/io/safetensors.hpp"
#include "promiseg/io/to_float32.hpp"
#include "promiseg/nn/weight_source.hpp"
#include "promiseg/sam/model_config.hpp"

namespace promiseg {

/// The metadata key, and the version of its contents, of every file promiseg writes.
inline constexpr const char* kMetadataKey = "promiseg";
inline constexpr std::int64_t kFormatVersion = 1;

/// What a model file says about itself besides the config.
struct ModelProvenance {
  std::string source;          ///< the file or the rule the weights came from
  std::string source_sha256;   ///< of that file; empty for synthetic weights
  std::string weights_sha256;  ///< of all tensors: names the model wherever it came from
  std::string licence;
};

/// An open model file.
class ModelFile {
 public:
  /// Throws `not_found`, `io`, `bad_format` (not a model, or of a newer format) or
  /// `invalid_argument` (a config that contradicts itself), naming the file.
  explicit ModelFile(const std::filesystem::path& path) : file_(path) {
    const auto metadata = file_.metadata().find(kMetadataKey);
    require(metadata != file_.metadata().end(), ErrorCode::bad_format, file_.name(),
            ": this safetensors file does not describe a promiseg model; make one with "
            "`promiseg convert`");
    try {
      const Json json = Json::parse(metadata->second);
      const std::int64_t version = json.at("format_version").as_integer();
      require(version == kFormatVersion, ErrorCode::unsupported, "format version ", version,
              ", this program reads ", kFormatVersion);
      const std::string& kind = json.at("kind").as_string();
      require(kind == "model", ErrorCode::bad_format, "expected a model, got: ", kind);
      apply_json(json.at("config"), config_);
      validate(config_);
      provenance_ = {json.at("source").as_string(), json.at("source_sha256").as_string(),
                     json.at("weights_sha256").as_string(), json.at("licence").as_string()};
    } catch (const Error& error) {
      fail(error.code(), file_.name(), ": ", error.what());
    }
  }

  const std::string& name() const { return file_.name(); }
  const ModelConfig& config() const { return config_; }
  const ModelProvenance& provenance() const { return provenance_; }
  const SafetensorsFile& file() const { return file_; }

 private:
  SafetensorsFile file_;
  ModelConfig config_;
  ModelProvenance provenance_;
};

/// "litemedsam (lite_medsam.pth)": how messages name a model.
inline std::string describe_model(const ModelConfig& config, const ModelProvenance& provenance) {
  return config.arch + " (" + provenance.source + ")";
}

/// The metadata value of a model file.
inline std::string model_metadata(const ModelConfig& config, const ModelProvenance& provenance) {
  Json json;
  json.set("format_version", kFormatVersion);
  json.set("kind", "model");
  json.set("config", to_json(config));
  json.set("source", provenance.source);
  json.set("source_sha256", provenance.source_sha256);
  json.set("weights_sha256", provenance.weights_sha256);
  json.set("licence", provenance.licence);
  return json.dump();
}

/// Weights from a safetensors file. Half, bfloat16 and double tensors become float32 as they are
/// read.
class FileWeights : public nn::WeightSource {
 public:
  /// The file must outlive this object and every view it gave out.
  explicit FileWeights(const SafetensorsFile& file) : file_(&file) {}

  /// Throws `bad_weights`, naming them, if the file holds tensors that nobody asked for.
  void require_all_used() const {
    std::string unused;
    std::size_t count = 0;
    for (const auto& [name, entry] : file_->tensors()) {
      if (used_.contains(name)) continue;
      if (++count <= 3) unused += (unused.empty() ? "\"" : ", \"") + name + "\"";
    }
    require(count == 0, ErrorCode::bad_weights, file_->name(), ": ", count,
            " tensors that the model does not have: ", unused, count > 3 ? ", ..." : "");
  }

 private:
  const float* find(const std::string& name, std::span<const Index> shape) override {
    const TensorEntry& entry = at(name);
    require(std::equal(entry.shape.begin(), entry.shape.end(), shape.begin(), shape.end()),
            ErrorCode::shape_mismatch, file_->name(), ": tensor \"", name, "\": expected shape ",
            ShapeText{shape.data(), shape.size()}, ", got ",
            ShapeText{entry.shape.data(), entry.shape.size()});
    used_.insert(name);
    if (entry.dtype == DType::f32) return reinterpret_cast<const float*>(entry.bytes.data());
    return converted(name, entry);
  }

  Index rows(const std::string& name, Index usual) override {
    const TensorEntry& entry = at(name);
    return entry.shape.size() == 2 && entry.shape[0] > 0 ? entry.shape[0] : usual;
  }

  bool has(const std::string& name) override { return file_->contains(name); }

  const TensorEntry& at(const std::string& name) const {
    require(file_->contains(name), ErrorCode::bad_weights, file_->name(), ": tensor \"", name,
            "\" is missing");
    return file_->at(name);
  }

  const float* converted(const std::string& name, const TensorEntry& entry) {
    try {
      // Converted once: views that were given out stay valid.
      const auto known = converted_.find(name);
      if (known != converted_.end()) return known->second.data();
      return (converted_[name] = to_float32(entry.dtype, entry.bytes)).data();
    } catch (const Error& error) {
      fail(ErrorCode::bad_weights, file_->name(), ": tensor \"", name, "\": ", error.what());
    }
  }

  const SafetensorsFile* file_;
  std::set<std::string, std::less<>> used_;
  std::map<std::string, std::vector<float>> converted_;
};

}  // namespace promiseg

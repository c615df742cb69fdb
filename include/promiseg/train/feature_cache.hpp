// Encoder features on disk: the encoder is frozen, so every image passes through it once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "promiseg/adapt/pack_config.hpp"
#include "promiseg/core/content_hash.hpp"
#include "promiseg/core/dtype.hpp"
#include "promiseg/core/image.hpp"
#include "promiseg/io/safetensors.hpp"

namespace promiseg::train {

/// A folder of features at half precision, one file an image. What an image's features depend on
/// is in their key: pixels, preprocessing and the model's weights. So a cache serves any number of
/// data sets and models and never mixes them up. A file holds the embedding and any taps.
class FeatureCache {
 public:
  /// Creates the folder. Throws `io`.
  explicit FeatureCache(std::filesystem::path folder) : folder_(std::move(folder)) {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    require(!error, ErrorCode::io, folder_.string(),
            ": cannot create the folder: ", error.message());
  }

  const std::filesystem::path& folder() const { return folder_; }

  /// `model_id` names the weights; `image` holds 8-bit pixels.
  static std::string key(ImageView image, const ModelConfig& model, std::string_view model_id) {
    const Image pixels(image);
    ContentHash hash;
    hash.add(std::as_bytes(pixels.elements())).add(model_id).add(to_json(model).dump());
    hash.add(std::as_bytes(std::span(pixels.extents())));
    return hash.text();
  }

  /// Bytes of one image's features. Throws `invalid_argument` for a tap that the model has not.
  static std::uint64_t bytes_per_image(const ModelConfig& model, std::span<const Index> taps) {
    Index channels = model.prompt_embed_dim;
    for (Index tap : taps) channels += tap_channels(model, tap);
    return static_cast<std::uint64_t>(model.grid() * model.grid() * channels) *
           sizeof(std::uint16_t);
  }

  /// True if the file of this key is whole and holds these taps. A damaged one counts as missing.
  bool has(const std::string& key, std::span<const Index> taps) const {
    if (!std::filesystem::exists(path(key))) return false;
    try {
      const SafetensorsFile file(path(key));
      const auto stored = file.metadata().find("key");
      return stored != file.metadata().end() && stored->second == key &&
             std::all_of(taps.begin(), taps.end(),
                         [&](Index tap) { return file.contains(tap_name(tap)); });
    } catch (const Error&) {
      return false;
    }
  }

  /// Writes features [h, w, C] atomically. Throws `io`, for instance when the disk is full.
  void store(const std::string& key, const Tensor<float, 3>& embedding,
             const std::map<Index, Tensor<float, 3>>& taps) const {
    SafetensorsWriter writer;
    writer.set_metadata("key", key);
    std::vector<std::vector<std::uint16_t>> halves;
    halves.reserve(1 + taps.size());
    const auto add = [&](const std::string& name, const Tensor<float, 3>& tensor) {
      auto& bits = halves.emplace_back();
      bits.reserve(static_cast<std::size_t>(tensor.size()));
      for (float value : tensor.elements()) bits.push_back(float_to_half(value));
      writer.add(name, TensorEntry{DType::f16,
                                   {tensor.extents().begin(), tensor.extents().end()},
                                   std::as_bytes(std::span(bits))});
    };
    add("embedding", embedding);
    for (const auto& [number, tap] : taps) add(tap_name(number), tap);
    writer.write(path(key));
  }

  /// An image's features, mapped; `read` copies one of them.
  SafetensorsFile open(const std::string& key) const { return SafetensorsFile(path(key)); }

  static std::string tap_name(Index number) { return "tap." + std::to_string(number); }

  /// Copies a tensor of the file to `to`. Throws `bad_format`, naming file and tensor, if its shape
  /// is another.
  static void read(const SafetensorsFile& file, const std::string& name,
                   const TensorView<float, 3>& to) {
    const TensorEntry& entry = file.at(name);
    require(entry.dtype == DType::f16 && entry.shape.size() == 3 &&
                std::equal(entry.shape.begin(), entry.shape.end(), to.extents().begin()) &&
                to.is_contiguous(),
            ErrorCode::bad_format, file.name(), ": \"", name, "\" is not of shape ",
            shape_text(to.extents()), " at half precision; remove the file");
    const auto* bits = reinterpret_cast<const std::uint16_t*>(entry.bytes.data());
    for (Index i = 0; i < to.size(); ++i) to.data()[i] = half_to_float(bits[i]);
  }

 private:
  std::filesystem::path path(const std::string& key) const {
    return folder_ / (key + ".safetensors");
  }

  std::filesystem::path folder_;
};

}  // namespace promiseg::train

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
#include "promiseg/io/to_float16.hpp"

namespace promiseg::train {

/// A folder of features at half precision, one file a tensor: an image's embedding, and each of its
/// taps. What features depend on is in their key: pixels, preprocessing and the model's weights. So
/// a cache serves any number of data sets, models and runs, at the same time too, and never mixes
/// them up. (Instruction sets are not in the key: what they differ by may flip the last bit.)
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

  /// True if the embedding and these taps are there. A damaged file counts as missing.
  bool has(const std::string& key, std::span<const Index> taps) const {
    return has_tensor(key, kEmbedding) && std::all_of(taps.begin(), taps.end(), [&](Index tap) {
             return has_tensor(key, tap_name(tap));
           });
  }

  /// Writes features [h, w, C], each file atomically. Throws `io`, for instance when the disk is
  /// full, and `unsupported` for numbers beyond half precision.
  void store(const std::string& key, const Tensor<float, 3>& embedding,
             const std::map<Index, Tensor<float, 3>>& taps) const {
    store_tensor(key, kEmbedding, embedding);
    for (const auto& [number, tap] : taps) store_tensor(key, tap_name(number), tap);
  }

  /// Copies a stored tensor, "embedding" or a `tap_name`, to `to`. Throws what opening a file
  /// throws, and `bad_format`, naming the file, if its shape is another.
  void read(const std::string& key, const std::string& name, const TensorView<float, 3>& to) const {
    const SafetensorsFile file(path(key, name));
    const TensorEntry& entry = file.at(name);
    require(entry.dtype == DType::f16 && entry.shape.size() == 3 &&
                std::equal(entry.shape.begin(), entry.shape.end(), to.extents().begin()) &&
                to.is_contiguous(),
            ErrorCode::bad_format, file.name(), ": \"", name, "\" is not of shape ",
            shape_text(to.extents()), " at half precision; remove the file");
    const auto* bits = reinterpret_cast<const std::uint16_t*>(entry.bytes.data());
    for (Index i = 0; i < to.size(); ++i) to.data()[i] = half_to_float(bits[i]);
  }

  static constexpr const char* kEmbedding = "embedding";
  static std::string tap_name(Index number) { return "tap." + std::to_string(number); }

 private:
  bool has_tensor(const std::string& key, const std::string& name) const {
    std::error_code ignored;
    if (!std::filesystem::exists(path(key, name), ignored)) return false;
    try {
      const SafetensorsFile file(path(key, name));
      const auto stored = file.metadata().find("key");
      return stored != file.metadata().end() && stored->second == key && file.contains(name);
    } catch (const Error&) {
      return false;
    }
  }

  void store_tensor(const std::string& key, const std::string& name,
                    const Tensor<float, 3>& tensor) const {
    const std::vector<std::uint16_t> bits =
        to_float16("feature \"" + name + "\"", tensor.elements());
    SafetensorsWriter writer;
    writer.set_metadata("key", key);
    writer.add(name, TensorEntry{DType::f16,
                                 {tensor.extents().begin(), tensor.extents().end()},
                                 std::as_bytes(std::span(bits))});
    writer.write(path(key, name));
  }

  std::filesystem::path path(const std::string& key, const std::string& name) const {
    return folder_ / (key + "." + name + ".safetensors");
  }

  std::filesystem::path folder_;
};

}  // namespace promiseg::train

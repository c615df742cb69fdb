// What the encoder makes of an image: the expensive part, computed once and kept.
#pragma once

#include <array>
#include <charconv>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "promiseg/io/safetensors.hpp"
#include "promiseg/sam/model_file.hpp"
#include "promiseg/sam/preprocess.hpp"

namespace promiseg {

/// An encoded image. Any number of prompts can be decoded from it.
struct ImageEmbedding {
  Tensor<float, 3> features;               ///< [grid, grid, C]
  std::map<Index, Tensor<float, 3>> taps;  ///< intermediate features that packs read, [h, w, C]
  FrameGeometry geometry;
  std::string model;  ///< `ModelProvenance::weights_sha256` of the model that made it
};

/// Writes an embedding: tensors `embedding` and `tap.N` [1, C, h, w] as `trace` writes them,
/// geometry and model in the metadata. Throws `io`.
inline void save_embedding(const ImageEmbedding& embedding, const std::filesystem::path& path) {
  const FrameGeometry& geometry = embedding.geometry;
  Json json;
  json.set("format_version", kFormatVersion);
  json.set("kind", "embedding");
  json.set("model", embedding.model);
  json.set("original_size", Json::array(std::array<std::int64_t, 2>{geometry.original.height,
                                                                    geometry.original.width}));
  json.set("resized_size", Json::array(std::array<std::int64_t, 2>{geometry.resized.height,
                                                                   geometry.resized.width}));
  json.set("frame_size", static_cast<std::int64_t>(geometry.frame_size));
  SafetensorsWriter writer;
  writer.set_metadata(kMetadataKey, json.dump());
  const auto adopt = [&](std::string name, const Tensor<float, 3>& features) {
    writer.adopt(std::move(name), features.view().permuted({2, 0, 1}).with_unit_axis(0));
  };
  adopt("embedding", embedding.features);
  for (const auto& [number, features] : embedding.taps) {
    adopt("tap." + std::to_string(number), features);
  }
  writer.write(path);
}

/// Features [h, w, C] from a tensor [1, C, h, w]. Throws `not_found` or `shape_mismatch`.
inline Tensor<float, 3> read_features(const SafetensorsFile& file, const std::string& name) {
  const auto stored = file.view<float, 4>(name);
  require(stored.extent(0) == 1, ErrorCode::shape_mismatch, file.name(), ": ", name,
          ": expected one image, got shape ", shape_text(stored.extents()));
  return Tensor<float, 3>(stored.select(0, 0).permuted({1, 2, 0}));
}

/// All `tap.N` of a file.
inline std::map<Index, Tensor<float, 3>> read_taps(const SafetensorsFile& file) {
  constexpr std::string_view kPrefix = "tap.";
  std::map<Index, Tensor<float, 3>> taps;
  for (const auto& [name, entry] : file.tensors()) {
    if (!name.starts_with(kPrefix)) continue;
    Index number = 0;
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + kPrefix.size(), end, number);
    require(parsed.ec == std::errc{} && parsed.ptr == end, ErrorCode::bad_format, file.name(),
            ": tensor \"", name, "\": expected tap.NUMBER");
    taps[number] = read_features(file, name);
  }
  return taps;
}

/// Reads an embedding. Throws `not_found`, `io` or `bad_format` naming the file.
inline ImageEmbedding load_embedding(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  const auto metadata = file.metadata().find(kMetadataKey);
  require(metadata != file.metadata().end(), ErrorCode::bad_format, file.name(),
          ": expected an embedding that promiseg saved; this file does not say what it is");
  ImageEmbedding embedding;
  try {
    const Json json = Json::parse(metadata->second);
    require(json.at("kind").as_string() == "embedding", ErrorCode::bad_format,
            "expected an embedding, got: ", json.at("kind").as_string());
    require(json.at("format_version").as_integer() == kFormatVersion, ErrorCode::unsupported,
            "unknown format version");
    const auto size = [&](const char* key) {
      const Json::Array& sides = json.at(key).as_array();
      require(sides.size() == 2, ErrorCode::bad_format, key, ": expected two numbers");
      const ImageSize read{static_cast<Index>(sides[0].as_integer()),
                           static_cast<Index>(sides[1].as_integer())};
      require_size(read, key);
      return read;
    };
    embedding.model = json.at("model").as_string();
    embedding.geometry = {size("original_size"), size("resized_size"),
                          static_cast<Index>(json.at("frame_size").as_integer())};
    const FrameGeometry& geometry = embedding.geometry;
    require(longest_side_size(geometry.original, geometry.frame_size) == geometry.resized,
            ErrorCode::bad_format, "its sizes contradict each other");
  } catch (const Error& error) {
    fail(error.code(), file.name(), ": ", error.what());
  }
  embedding.features = read_features(file, "embedding");
  embedding.taps = read_taps(file);
  return embedding;
}

}  // namespace promiseg

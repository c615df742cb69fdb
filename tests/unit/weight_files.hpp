// Weight files to convert, inspect and damage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "promiseg/adapt/pack_file.hpp"
#include "promiseg/io/safetensors.hpp"
#include "promiseg/sam/sam_weights.hpp"
#include "synth.hpp"
#include "weight_input.hpp"

namespace promiseg_test {

inline std::filesystem::path test_data(const std::string& name) {
  return std::filesystem::path(PROMISEG_TEST_DATA) / name;
}

/// The checkpoint of a small SAM; its config, but for decoder_num_heads = 4, follows from shapes.
inline std::filesystem::path sam_tiny() { return test_data("fixtures/sam_tiny_weights.pth"); }

inline promiseg::ModelConfig sam_tiny_config() {
  promiseg::ModelConfig config = promiseg::published_config("vit_b");
  config.arch = "vit";
  config.image_size = 256;
  config.encoder_embed_dim = 64;
  config.encoder_depth = 4;
  config.encoder_num_heads = 4;
  config.global_attn_indexes = {1, 3};
  config.window_size = 7;
  config.prompt_embed_dim = 32;
  config.decoder_num_heads = 4;
  config.decoder_mlp_dim = 64;
  config.iou_head_hidden_dim = 32;
  return config;
}

/// A TinyViT with other numbers than the published one wherever shapes tell them.
inline promiseg::ModelConfig small_tiny_vit_config() {
  promiseg::ModelConfig config = promiseg::published_config("litemedsam");
  config.embed_dims = {8, 12, 24};
  config.depths = {1, 2, 1};
  config.num_heads = {2, 3, 4};
  config.window_sizes = {7, 5, 9};
  config.mbconv_expand_ratio = 3;
  config.local_conv_size = 5;
  config.mlp_ratio = 2.5;
  config.prompt_embed_dim = 32;
  config.mask_in_chans = 8;
  config.num_multimask_outputs = 2;
  config.decoder_depth = 1;
  config.decoder_mlp_dim = 40;
  config.attention_downsample_rate = 4;
  config.iou_head_depth = 2;
  config.iou_head_hidden_dim = 24;
  return config;
}

/// The model of checkpoints/promise_ips.pth, seed 7.
inline promiseg::ModelConfig promise_ips_config() {
  promiseg::ModelConfig config = promiseg::published_config("vit_b");
  config.arch = "vit";
  config.image_size = 64;
  config.encoder_embed_dim = 16;
  config.encoder_depth = 2;
  config.encoder_num_heads = 2;
  config.global_attn_indexes = {1};
  config.window_size = 3;
  config.prompt_embed_dim = 32;
  config.decoder_mlp_dim = 64;
  config.iou_head_hidden_dim = 32;
  return config;
}

/// Its pack.
inline promiseg::PackConfig small_ips_config() {
  promiseg::PackConfig config;
  config.ips = true;
  config.ips_hidden_dim = 8;
  return config;
}

/// Named tensors that a test may change before they are written to a file.
class EditableWeights {
 public:
  struct Tensor {
    promiseg::DType dtype = promiseg::DType::f32;
    std::vector<promiseg::Index> shape;
    std::vector<std::byte> bytes;
  };

  /// Synthetic weights of a config.
  explicit EditableWeights(const promiseg::ModelConfig& config) {
    for (const promiseg::TensorSpec& spec : promiseg::sam_tensor_specs(config)) {
      set<float>(spec.name, promiseg::DType::f32, spec.shape,
                 promiseg::tools::synth_tensor(spec.name, spec.shape, 5));
    }
  }

  /// The weights of a file, with its metadata.
  explicit EditableWeights(const std::filesystem::path& path) {
    const promiseg::tools::WeightInput input = promiseg::tools::open_weights(path);
    metadata = input.metadata;
    for (const auto& [name, entry] : input.tensors) {
      tensors[name] = {entry.dtype, entry.shape, {entry.bytes.begin(), entry.bytes.end()}};
    }
  }

  /// Adds the synthetic weights of a pack.
  void add_pack(const promiseg::PackConfig& config, const promiseg::ModelConfig& model) {
    for (const promiseg::TensorSpec& spec : promiseg::pack_tensor_specs(config, model)) {
      set<float>(spec.name, promiseg::DType::f32, spec.shape,
                 promiseg::tools::synth_tensor(spec.name, spec.shape, 5));
    }
  }

  template <class T>
  void set(const std::string& name, promiseg::DType dtype, std::vector<promiseg::Index> shape,
           const std::vector<T>& values) {
    const auto bytes = std::as_bytes(std::span(values));
    tensors[name] = {dtype, std::move(shape), {bytes.begin(), bytes.end()}};
  }

  /// A tensor of zeros.
  void set_zero(const std::string& name, std::vector<promiseg::Index> shape,
                promiseg::DType dtype = promiseg::DType::f32) {
    std::size_t size = promiseg::size_of(dtype);
    for (promiseg::Index extent : shape) size *= static_cast<std::size_t>(extent);
    tensors[name] = {dtype, std::move(shape), std::vector<std::byte>(size)};
  }

  promiseg::tools::TensorEntries entries() const {
    promiseg::tools::TensorEntries entries;
    for (const auto& [name, tensor] : tensors) {
      entries[name] = {tensor.dtype, tensor.shape, tensor.bytes};
    }
    return entries;
  }

  void write(const std::filesystem::path& path) const {
    promiseg::SafetensorsWriter writer;
    for (const auto& [key, text] : metadata) writer.set_metadata(key, text);
    for (const auto& [name, entry] : entries()) writer.add(name, entry);
    writer.write(path);
  }

  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

}  // namespace promiseg_test

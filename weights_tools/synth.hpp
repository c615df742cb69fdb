// Models and images made from nothing but a seed, bit-identical everywhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "promiseg/adapt/pack_file.hpp"
#include "promiseg/core/tensor.hpp"
#include "promiseg/nn/weight_source.hpp"
#include "promiseg/sam/model_config.hpp"

namespace promiseg::tools {

/// 64-bit FNV-1a of a name's bytes.
std::uint64_t fnv1a64(std::string_view name);

/// Synthetic values lie in `[offset - scale, offset + scale)`.
struct SynthRange {
  float scale = 1.0F;
  float offset = 0.0F;
};

/// The range of a tensor, from its checkpoint name and shape alone: scales keep activations of the
/// full-size encoders finite, norms are near one. The name need not be of this library's models.
SynthRange synth_range(std::string_view name, std::span<const Index> shape);

/// Elements `first`, `first + 1`, ... (row-major) of a tensor. The 24 upper bits `k` of
/// `mix_bits(fnv1a64(name) + seed * 0x9E3779B97F4A7C15 + i)` give `v = (k - 2^23) / 2^23`, and
/// the value is `v * scale` rounded to float, then plus `offset`. Bit-identical under any compiler
/// flags that keep IEEE arithmetic, fused multiply-add contraction included.
void fill_synth(std::string_view name, SynthRange range, std::uint64_t seed, std::uint64_t first,
                std::span<float> values);

/// A whole tensor. Throws `invalid_argument` for a negative extent.
std::vector<float> synth_tensor(std::string_view name, std::span<const Index> shape,
                                std::uint64_t seed);

/// Four octaves of value noise, [3, height, width], already in the model's input range. Throws
/// `invalid_argument` unless both sides lie in 1 .. 65536.
Tensor<float, 3> synth_image(Index height, Index width, std::uint64_t seed);

/// Every tensor that is asked for, in memory.
class SynthWeights : public nn::WeightSource {
 public:
  explicit SynthWeights(std::uint64_t seed) : seed_(seed) {}

 private:
  const float* find(const std::string& name, std::span<const Index> shape) override;

  std::uint64_t seed_;
  std::map<std::string, std::vector<float>> tensors_;
};

/// What `synth_model` wrote.
struct SynthReport {
  std::size_t tensors = 0;
  std::uint64_t values = 0;
  std::string weights_sha256;
};

/// Writes a model file with synthetic weights; its `arch` is `arch_name` of the config and its
/// source reads "synth:ARCH:SEED". Holds all weights in memory once. `threads` 0 takes all
/// processors. Throws `invalid_argument` for a config that contradicts itself, `not_found` or `io`
/// if the file cannot be written.
SynthReport synth_model(const ModelConfig& requested, std::uint64_t seed,
                        const std::filesystem::path& path, int threads = 0);

/// The settings of a pack of the paper for a model: promise_resnet34, promise_resnet18 or
/// promise_cross, each with IPS; the first three of `usual_taps`, coordinates over the model's
/// frame; for TinyViT mask token 0, and for cross attention the stages 3, 2, 2 and ten heads.
/// Throws `invalid_argument` for another name.
PackConfig published_pack_config(std::string_view kind, const ModelConfig& model);

/// Writes a pack file with synthetic weights for a model. Throws `invalid_argument` for a config
/// that contradicts itself or the model, `not_found` or `io` if the file cannot be written.
SynthReport synth_pack(const PackConfig& config, const ModelFile& model, std::uint64_t seed,
                       const std::filesystem::path& path, int threads = 0);

}  // namespace promiseg::tools

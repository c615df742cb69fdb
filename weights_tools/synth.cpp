#include "synth.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "find_config.hpp"
#include "promiseg/core/random.hpp"
#include "promiseg/core/thread_pool.hpp"
#include "promiseg/io/safetensors.hpp"
#include "promiseg/sam/model_file.hpp"
#include "promiseg/sam/sam_weights.hpp"
#include "sha256.hpp"

namespace promiseg::tools {

namespace {

constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15;

/// The upper 24 bits of a hash, centred on zero; below 2^23 in magnitude, so exact as a float.
std::int32_t centred_bits(std::uint64_t key) {
  return static_cast<std::int32_t>(mix_bits(key) >> 40) - (std::int32_t{1} << 23);
}

/// `v` of element `index`, in [-1, 1).
double unit_value(std::uint64_t key, std::uint64_t index) {
  return static_cast<double>(centred_bits(key + index)) * 0x1p-23;
}

std::uint64_t key_of(std::string_view name, std::uint64_t seed) {
  return fnv1a64(name) + seed * kGolden;
}

/// Tensors of embeddings, which stay small: rule 4 of the table.
bool is_embedding(std::string_view dotted) {
  constexpr std::array<std::string_view, 10> kEndings = {
      ".pos_embed",           ".rel_pos_h",
      ".rel_pos_w",           "_token.weight",
      "_tokens.weight",       "not_a_point_embed.weight",
      "no_mask_embed.weight", "query_embedding.weight",
      "query_feat.weight",    "level_embedding.weight"};
  return std::any_of(kEndings.begin(), kEndings.end(),
                     [&](std::string_view ending) { return dotted.ends_with(ending); }) ||
         dotted.find(".point_embeddings.") != std::string_view::npos;
}

/// The scale that keeps the variance of a sum of `inputs` products at one.
float fan_in_scale(double inputs) {
  return inputs > 0.0 ? static_cast<float>(std::sqrt(3.0 / inputs)) : 0.0F;
}

/// Elements of a shape. Throws `invalid_argument` for a negative extent or an overflow.
std::size_t count_elements(std::string_view name, std::span<const Index> shape) {
  std::uint64_t count = 1;
  for (Index extent : shape) {
    require(extent >= 0 &&
                (extent == 0 || count <= std::numeric_limits<std::uint64_t>::max() / sizeof(float) /
                                             static_cast<std::uint64_t>(extent)),
            ErrorCode::invalid_argument, "tensor \"", name, "\": impossible shape ",
            ShapeText{shape.data(), shape.size()});
    count *= static_cast<std::uint64_t>(extent);
  }
  return static_cast<std::size_t>(count);
}

/// One octave of value noise: a grid of random values `spacing` pixels apart, linear in between.
struct Octave {
  Index spacing;
  double amplitude;
};

/// Adds the octave to `sum` [3, H, W]. Every operation is exact in double precision: grid values
/// have 24 bits, positions at most 8, amplitudes are powers of two.
void add_octave(TensorView<double, 3> sum, const Octave& octave, std::uint64_t seed) {
  const Index spacing = octave.spacing;
  const std::uint64_t key = key_of("synth_image.L" + std::to_string(spacing), seed);
  const Index grid_height = (sum.extent(1) + spacing - 1) / spacing + 1;
  const Index grid_width = (sum.extent(2) + spacing - 1) / spacing + 1;
  const auto grid = [&](Index channel, Index y, Index x) {
    return unit_value(key,
                      static_cast<std::uint64_t>((channel * grid_height + y) * grid_width + x));
  };
  for (Index channel = 0; channel < sum.extent(0); ++channel) {
    for (Index y = 0; y < sum.extent(1); ++y) {
      const Index top = y / spacing;
      const double down = static_cast<double>(y % spacing) / static_cast<double>(spacing);
      for (Index left = 0; left * spacing < sum.extent(2); ++left) {
        const double top_left = grid(channel, top, left);
        const double top_right = grid(channel, top, left + 1);
        const double bottom_left = grid(channel, top + 1, left);
        const double bottom_right = grid(channel, top + 1, left + 1);
        const Index end = std::min(sum.extent(2), (left + 1) * spacing);
        for (Index x = left * spacing; x < end; ++x) {
          const double right = static_cast<double>(x % spacing) / static_cast<double>(spacing);
          sum(channel, y, x) +=
              octave.amplitude * ((1.0 - down) * ((1.0 - right) * top_left + right * top_right) +
                                  down * ((1.0 - right) * bottom_left + right * bottom_right));
        }
      }
    }
  }
}

}  // namespace

std::uint64_t fnv1a64(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return hash;
}

SynthRange synth_range(std::string_view name, std::span<const Index> shape) {
  std::string dotted(1, '.');  // lets a whole name end with ".pos_embed" as well
  dotted += name;
  const std::string_view text = dotted;
  if (text.ends_with(".running_var")) return {0.1F, 1.0F};
  if (text.ends_with(".running_mean")) return {0.05F, 0.0F};
  if (text.ends_with("positional_encoding_gaussian_matrix")) return {1.0F, 0.0F};
  if (is_embedding(text) || text.ends_with("bias")) return {0.05F, 0.0F};
  if (shape.size() == 1) return {0.1F, 1.0F};
  const auto extent = [&](std::size_t axis) { return static_cast<double>(shape[axis]); };
  const bool transposed =
      text.find("output_upscaling.") != std::string_view::npos || text.ends_with(".deconv.weight");
  if (shape.size() == 4 && transposed) {
    return {fan_in_scale(extent(0) * extent(2) * extent(3)), 0.0F};
  }
  double inputs = 1.0;
  for (std::size_t axis = 1; axis < shape.size(); ++axis) inputs *= extent(axis);
  return {fan_in_scale(inputs), 0.0F};
}

void fill_synth(std::string_view name, SynthRange range, std::uint64_t seed, std::uint64_t first,
                std::span<float> values) {
  const std::uint64_t key = key_of(name, seed) + first;
  if (range.offset == 0.0F) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(centred_bits(key + i)) * 0x1p-23F * range.scale;
    }
    return;
  }
  // The product of two floats is exact as a double, so narrowing it rounds once, and the
  // conversion between product and sum leaves the compiler no multiply-add to fuse.
  const auto scale = static_cast<double>(range.scale);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(unit_value(key, i) * scale) + range.offset;
  }
}

std::vector<float> synth_tensor(std::string_view name, std::span<const Index> shape,
                                std::uint64_t seed) {
  std::vector<float> values(count_elements(name, shape));
  fill_synth(name, synth_range(name, shape), seed, 0, values);
  return values;
}

Tensor<float, 3> synth_image(Index height, Index width, std::uint64_t seed) {
  constexpr Index kMaxSide = 65536;
  require(height >= 1 && width >= 1 && height <= kMaxSide && width <= kMaxSide,
          ErrorCode::invalid_argument, "synthetic image: expected sides from 1 to ", kMaxSide,
          ", got ", height, " x ", width);
  constexpr std::array<Octave, 4> kOctaves = {{{256, 1.0}, {64, 0.5}, {16, 0.25}, {1, 0.125}}};
  Tensor<double, 3> sum({3, height, width});
  for (const Octave& octave : kOctaves) add_octave(sum.view(), octave, seed);
  Tensor<float, 3> image({3, height, width});
  std::transform(sum.elements().begin(), sum.elements().end(), image.elements().begin(),
                 [](double value) { return static_cast<float>(value); });
  return image;
}

const float* SynthWeights::find(const std::string& name, std::span<const Index> shape) {
  std::vector<float>& values = tensors_[name];
  const std::size_t count = count_elements(name, shape);
  require(values.empty() || values.size() == count, ErrorCode::shape_mismatch, "tensor \"", name,
          "\" was first asked for with another shape than ", ShapeText{shape.data(), shape.size()});
  if (values.empty()) values = synth_tensor(name, shape, seed_);
  return values.data();
}

namespace {

/// Writes tensors made by the rule; `metadata` makes the description from their hash.
template <class Metadata>
SynthReport write_synthetic(const std::vector<TensorSpec>& specs, std::uint64_t seed, int threads,
                            const std::filesystem::path& path, const Metadata& metadata) {
  std::vector<std::vector<float>> values(specs.size());
  ThreadPool pool(threads);
  pool.parallel_for(static_cast<Index>(specs.size()), [&](Index part, int /*thread*/) {
    const auto i = static_cast<std::size_t>(part);
    values[i] = synth_tensor(specs[i].name, specs[i].shape, seed);
  });

  SynthReport report;
  TensorEntries entries;
  SafetensorsWriter writer;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const TensorEntry entry{DType::f32, specs[i].shape, std::as_bytes(std::span(values[i]))};
    entries.emplace(specs[i].name, entry);
    writer.add(specs[i].name, entry);
    report.values += values[i].size();
  }
  report.tensors = specs.size();
  report.weights_sha256 = weights_sha256(entries);
  writer.set_metadata(kMetadataKey, metadata(report.weights_sha256));
  writer.write(path);
  return report;
}

constexpr const char* kSyntheticLicence = "none (synthetic)";

}  // namespace

SynthReport synth_model(const ModelConfig& requested, std::uint64_t seed,
                        const std::filesystem::path& path, int threads) {
  validate(requested);
  ModelConfig config = requested;
  config.arch = arch_name(config);
  return write_synthetic(
      sam_tensor_specs(config), seed, threads, path, [&](const std::string& hash) {
        return model_metadata(config, {"synth:" + config.arch + ":" + std::to_string(seed), "",
                                       hash, kSyntheticLicence});
      });
}

PackConfig published_pack_config(std::string_view kind, const ModelConfig& model) {
  PackConfig config;
  config.ips = true;
  if (kind == "promise_cross") {
    config.apm = ApmKind::cross;
  } else {
    require(kind == "promise_resnet34" || kind == "promise_resnet18", ErrorCode::invalid_argument,
            "unknown pack \"", kind,
            "\": expected promise_resnet34, promise_resnet18 or promise_cross");
    config.apm = ApmKind::resnet;
    if (kind == "promise_resnet18") config.resnet_blocks = {2, 2, 2, 2};
  }
  constexpr std::size_t kTaps = 3;
  config.tap_blocks = usual_taps(model);
  config.tap_blocks.resize(std::min(kTaps, config.tap_blocks.size()));
  config.point_scale = static_cast<double>(model.image_size);
  if (model.encoder == EncoderKind::tiny_vit) {
    config.mask_token = 0;
    if (config.apm == ApmKind::cross) {  // its taps need one width
      config.tap_blocks = {3, 2, 2};
      config.cross_num_heads = 10;
    }
  }
  return config;
}

SynthReport synth_pack(const PackConfig& config, const ModelFile& model, std::uint64_t seed,
                       const std::filesystem::path& path, int threads) {
  validate(config, model.config());
  return write_synthetic(
      pack_tensor_specs(config, model.config()), seed, threads, path, [&](const std::string& hash) {
        return pack_metadata(
            config,
            {model.provenance().weights_sha256, describe_model(model.config(), model.provenance()),
             "synth:pack:" + std::to_string(seed), hash, kSyntheticLicence, Json()});
      });
}

}  // namespace promiseg::tools

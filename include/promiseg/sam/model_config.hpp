// Everything about a model that is not a weight: a plain struct, read from the weight file.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "promiseg/core/tensor_view.hpp"
#include "promiseg/io/config_fields.hpp"

namespace promiseg {

enum class EncoderKind { vit, tiny_vit };

/// Which rule brings an image to the model's size.
enum class ResizeRule {
  pillow_bilinear,  ///< SAM: Pillow's antialiased bilinear
  area,             ///< LiteMedSAM: OpenCV's INTER_AREA
};

/// Which rule brings pixel values to the model's range.
enum class IntensityRule {
  mean_std,  ///< SAM: subtract `pixel_mean`, divide by `pixel_std`
  min_max,   ///< LiteMedSAM: the resized image's smallest value to 0, its largest to 1
};

/// Hyper-parameters of a SAM. Field names are those of the original code, and of the JSON.
struct ModelConfig {
  std::string arch = "vit_b";  ///< vit_b, vit_l, vit_h, vit (another size) or litemedsam
  EncoderKind encoder = EncoderKind::vit;
  Index image_size = 1024;  ///< side of the square input, pixels

  // The ViT encoder.
  Index patch_size = 16;
  Index encoder_embed_dim = 768;
  Index encoder_depth = 12;
  Index encoder_num_heads = 12;
  std::vector<Index> global_attn_indexes = {2, 5, 8, 11};
  Index window_size = 14;
  bool use_rel_pos = true;
  double encoder_ln_eps = 1e-6;

  // The TinyViT encoder; one entry per stage.
  std::vector<Index> embed_dims = {64, 128, 160, 320};
  std::vector<Index> depths = {2, 2, 6, 2};
  std::vector<Index> num_heads = {2, 4, 5, 10};
  std::vector<Index> window_sizes = {7, 7, 14, 7};
  Index mbconv_expand_ratio = 4;
  Index local_conv_size = 3;

  // Both encoders.
  double mlp_ratio = 4.0;
  double layernorm2d_eps = 1e-6;

  // Prompt encoder and mask decoder.
  Index prompt_embed_dim = 256;
  Index mask_in_chans = 16;
  Index num_multimask_outputs = 3;
  Index decoder_depth = 2;
  Index decoder_num_heads = 8;
  Index decoder_mlp_dim = 2048;
  Index attention_downsample_rate = 2;
  Index iou_head_depth = 3;
  Index iou_head_hidden_dim = 256;
  double decoder_ln_eps = 1e-5;

  // Images and masks.
  ResizeRule resize_rule = ResizeRule::pillow_bilinear;
  IntensityRule intensity_rule = IntensityRule::mean_std;
  std::vector<double> pixel_mean = {123.675, 116.28, 103.53};
  std::vector<double> pixel_std = {58.395, 57.12, 57.375};
  double mask_threshold = 0.0;  ///< on logits

  /// The side of the embedding's grid, tokens.
  Index grid() const {
    if (encoder == EncoderKind::vit) return image_size / patch_size;
    Index side = image_size;
    for (std::size_t stage = 0; stage + 1 < embed_dims.size(); ++stage) {
      side /= merging_stride(stage);
    }
    return side;
  }

  /// The stride with which TinyViT's stage merges patches; the widths in the last condition of
  /// `PatchMerging` in tiny_vit_sam.py keep the resolution.
  Index merging_stride(std::size_t stage) const {
    const Index next = embed_dims[stage + 1];
    return next == 320 || next == 448 || next == 576 ? 1 : 2;
  }

  Index mask_tokens() const { return num_multimask_outputs + 1; }
  Index mlp_dim(Index width) const {
    return static_cast<Index>(static_cast<double>(width) * mlp_ratio);
  }

  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

namespace detail {

template <>
struct EnumNames<EncoderKind> {
  static constexpr std::array<std::string_view, 2> kNames = {"vit", "tiny_vit"};
};
template <>
struct EnumNames<ResizeRule> {
  static constexpr std::array<std::string_view, 2> kNames = {"pillow_bilinear", "area"};
};
template <>
struct EnumNames<IntensityRule> {
  static constexpr std::array<std::string_view, 2> kNames = {"mean_std", "min_max"};
};

/// Calls `visit(name, field)` for every field: the one list of names, for reading and writing.
template <class Config, class Visit>
void visit_fields(Config& config, const Visit& visit) {
  visit("arch", config.arch);
  visit("encoder", config.encoder);
  visit("image_size", config.image_size);
  if (config.encoder == EncoderKind::vit) {
    visit("patch_size", config.patch_size);
    visit("encoder_embed_dim", config.encoder_embed_dim);
    visit("encoder_depth", config.encoder_depth);
    visit("encoder_num_heads", config.encoder_num_heads);
    visit("global_attn_indexes", config.global_attn_indexes);
    visit("window_size", config.window_size);
    visit("use_rel_pos", config.use_rel_pos);
    visit("encoder_ln_eps", config.encoder_ln_eps);
  } else {
    visit("embed_dims", config.embed_dims);
    visit("depths", config.depths);
    visit("num_heads", config.num_heads);
    visit("window_sizes", config.window_sizes);
    visit("mbconv_expand_ratio", config.mbconv_expand_ratio);
    visit("local_conv_size", config.local_conv_size);
  }
  visit("mlp_ratio", config.mlp_ratio);
  visit("layernorm2d_eps", config.layernorm2d_eps);
  visit("prompt_embed_dim", config.prompt_embed_dim);
  visit("mask_in_chans", config.mask_in_chans);
  visit("num_multimask_outputs", config.num_multimask_outputs);
  visit("decoder_depth", config.decoder_depth);
  visit("decoder_num_heads", config.decoder_num_heads);
  visit("decoder_mlp_dim", config.decoder_mlp_dim);
  visit("attention_downsample_rate", config.attention_downsample_rate);
  visit("iou_head_depth", config.iou_head_depth);
  visit("iou_head_hidden_dim", config.iou_head_hidden_dim);
  visit("decoder_ln_eps", config.decoder_ln_eps);
  visit("resize_rule", config.resize_rule);
  visit("intensity_rule", config.intensity_rule);
  visit("pixel_mean", config.pixel_mean);
  visit("pixel_std", config.pixel_std);
  visit("mask_threshold", config.mask_threshold);
}

}  // namespace detail

/// The config of a published architecture: vit_b, vit_l, vit_h or litemedsam. Throws
/// `invalid_argument` for another name.
inline ModelConfig published_config(std::string_view arch) {
  ModelConfig config;
  config.arch = std::string(arch);
  if (arch == "vit_b") return config;
  if (arch == "vit_l") {
    config.encoder_embed_dim = 1024;
    config.encoder_depth = 24;
    config.encoder_num_heads = 16;
    config.global_attn_indexes = {5, 11, 17, 23};
    return config;
  }
  if (arch == "vit_h") {
    config.encoder_embed_dim = 1280;
    config.encoder_depth = 32;
    config.encoder_num_heads = 16;
    config.global_attn_indexes = {7, 15, 23, 31};
    return config;
  }
  require(arch == "litemedsam", ErrorCode::invalid_argument, "unknown architecture \"", arch,
          "\": expected vit_b, vit_l, vit_h or litemedsam");
  config.encoder = EncoderKind::tiny_vit;
  config.image_size = 256;
  config.resize_rule = ResizeRule::area;
  config.intensity_rule = IntensityRule::min_max;
  return config;
}

inline Json to_json(const ModelConfig& config) {
  return detail::fields_to_json([&](const auto& visit) { detail::visit_fields(config, visit); });
}

/// Sets the fields that the JSON object names. Throws `invalid_argument` for an unknown field or a
/// wrong type, naming the field.
inline void apply_json(const Json& json, ModelConfig& config) {
  // The encoder first: it decides which fields there are.
  detail::apply_field(json, "encoder", config.encoder);
  detail::apply_fields(json, [&](const auto& visit) { detail::visit_fields(config, visit); });
}

namespace detail {

/// The largest width, count or number of heads a config may name. Products of the sizes that meet
/// in one tensor then fit 64 bits with room to spare.
inline constexpr Index kMaxDimension = 65536;

/// Norms divide by the root of a variance plus this; nothing smaller is left of it in float32.
inline constexpr double kMinEpsilon = 1e-30;

template <class... Parts>
void check_config(bool good, const Parts&... parts) {
  require(good, ErrorCode::invalid_argument, "config: ", parts...);
}

/// Throws `invalid_argument` unless `low` <= `value` <= `high`; infinite and no numbers never are.
template <class T>
void check_config_range(std::string_view name, T value, T low, T high) {
  check_config(value >= low && value <= high, name, ": expected ", low, " to ", high, ", got ",
               value);
}

inline void validate_mlp(const ModelConfig& config, Index width) {
  check_config(config.mlp_ratio > 0.0 && config.mlp_ratio <= 64.0 && config.mlp_dim(width) >= 1,
               "mlp_ratio ", config.mlp_ratio,
               ": expected above 0 and at most 64, and a hidden layer of at least one, for width ",
               width);
}

inline void validate_vit(const ModelConfig& config) {
  constexpr Index kMaxGrid = 1024;
  constexpr Index kMaxWindow = 256;  // beyond the grid, a window is padding only
  check_config(config.image_size % config.patch_size == 0, "image_size ", config.image_size,
               " is not a multiple of patch_size ", config.patch_size);
  check_config(config.grid() <= kMaxGrid, "image_size ", config.image_size, " in patches of ",
               config.patch_size, " makes more than ", kMaxGrid, " a side");
  check_config(config.encoder_embed_dim % config.encoder_num_heads == 0, "encoder_embed_dim ",
               config.encoder_embed_dim, " is not a multiple of encoder_num_heads ",
               config.encoder_num_heads);
  check_config_range("encoder_depth", config.encoder_depth, Index{1}, Index{1024});
  check_config_range("window_size", config.window_size, Index{1},
                     std::max(kMaxWindow, config.grid()));
  for (Index block : config.global_attn_indexes) {
    check_config(block >= 0 && block < config.encoder_depth, "global_attn_indexes names block ",
                 block, " of ", config.encoder_depth);
  }
  check_config_range("encoder_ln_eps", config.encoder_ln_eps, kMinEpsilon, 1.0);
  validate_mlp(config, config.encoder_embed_dim);
}

inline void validate_tiny_vit(const ModelConfig& config) {
  constexpr Index kMaxWindow = 64;  // tables of its attention grow with the fourth power
  const std::size_t stages = config.embed_dims.size();
  check_config(
      stages >= 2 && stages <= 8 && config.depths.size() == stages &&
          config.num_heads.size() == stages && config.window_sizes.size() == stages,
      "embed_dims, depths, num_heads and window_sizes need the same number (2 to 8) of entries");
  Index side = config.image_size;
  for (std::size_t stage = 0; stage < stages; ++stage) {
    check_config_range("embed_dims", config.embed_dims[stage], Index{1}, kMaxDimension);
    check_config_range("depths", config.depths[stage], Index{1}, Index{64});
    check_config_range("num_heads", config.num_heads[stage], Index{1}, kMaxDimension);
    check_config_range("window_sizes", config.window_sizes[stage], Index{1}, kMaxWindow);
    check_config(config.embed_dims[stage] % config.num_heads[stage] == 0, "embed_dims ",
                 config.embed_dims[stage], " of stage ", stage,
                 " is not a multiple of its num_heads ", config.num_heads[stage]);
    validate_mlp(config, config.embed_dims[stage]);
    if (stage + 1 == stages) break;
    const Index stride = config.merging_stride(stage);
    check_config(side % stride == 0, "image_size ", config.image_size, ": stage ", stage,
                 " cannot halve a side of ", side);
    side /= stride;
  }
  check_config_range("mbconv_expand_ratio", config.mbconv_expand_ratio, Index{1}, Index{64});
  check_config(config.local_conv_size % 2 == 1, "local_conv_size must be odd");
  check_config_range("local_conv_size", config.local_conv_size, Index{1}, Index{15});
}

inline void validate_decoder(const ModelConfig& config) {
  const Index inner = config.prompt_embed_dim / config.attention_downsample_rate;
  check_config(config.prompt_embed_dim % 8 == 0 &&
                   config.prompt_embed_dim % config.decoder_num_heads == 0 &&
                   inner % config.decoder_num_heads == 0 && inner > 0,
               "prompt_embed_dim ", config.prompt_embed_dim, " does not fit decoder_num_heads ",
               config.decoder_num_heads, " and attention_downsample_rate ",
               config.attention_downsample_rate);
  check_config(config.mask_in_chans % 4 == 0, "mask_in_chans must be a multiple of 4");
  check_config_range("num_multimask_outputs", config.num_multimask_outputs, Index{1}, Index{64});
  check_config_range("iou_head_depth", config.iou_head_depth, Index{1}, Index{64});
  check_config_range("decoder_depth", config.decoder_depth, Index{1}, Index{64});
  check_config_range("decoder_ln_eps", config.decoder_ln_eps, kMinEpsilon, 1.0);
}

inline void validate_pixels(const ModelConfig& config) {
  constexpr double kMaxLevel = 1e6;  // far beyond the levels of any image
  check_config(config.pixel_mean.size() == 3 && config.pixel_std.size() == 3,
               "pixel_mean and pixel_std need three numbers");
  for (double mean : config.pixel_mean) {
    check_config_range("pixel_mean", mean, -kMaxLevel, kMaxLevel);
  }
  for (double deviation : config.pixel_std) {
    check_config_range("pixel_std", deviation, 1.0 / kMaxLevel, kMaxLevel);
  }
  check_config_range("mask_threshold", config.mask_threshold, -kMaxLevel, kMaxLevel);
}

}  // namespace detail

/// Throws `invalid_argument` naming the field if one is out of range or two contradict each other,
/// so that no later code has to doubt them and no product of sizes overflows.
inline void validate(const ModelConfig& config) {
  detail::visit_fields(config, [&](const char* name, const auto& field) {
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, Index>) {
      detail::check_config_range(name, field, Index{1}, detail::kMaxDimension);
    }
  });
  detail::check_config_range("image_size", config.image_size, Index{1}, Index{8192});
  if (config.encoder == EncoderKind::vit) {
    detail::validate_vit(config);
  } else {
    detail::validate_tiny_vit(config);
  }
  detail::check_config_range("layernorm2d_eps", config.layernorm2d_eps, detail::kMinEpsilon, 1.0);
  detail::validate_decoder(config);
  detail::validate_pixels(config);
}

}  // namespace promiseg

// Everything about a model that is not a weight: a plain struct, read from the weight file.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "promiseg/core/tensor_view.hpp"
#include "promiseg/io/json.hpp"

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

/// Names of an enumeration's values in JSON, in the order of the values.
template <class E>
struct EnumNames;
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

template <class T>
Json to_json_value(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return EnumNames<T>::kNames[static_cast<std::size_t>(value)];
  } else if constexpr (std::is_same_v<T, Index>) {
    return static_cast<std::int64_t>(value);
  } else if constexpr (requires { value.begin(); } && !std::is_same_v<T, std::string>) {
    Json::Array items;
    for (const auto& item : value) items.push_back(to_json_value(item));
    return items;
  } else {
    return value;
  }
}

template <class T>
void from_json_value(const Json& json, T& value) {
  if constexpr (std::is_enum_v<T>) {
    std::string expected;
    for (std::size_t i = 0; i < EnumNames<T>::kNames.size(); ++i) {
      if (json.as_string() == EnumNames<T>::kNames[i]) {
        value = static_cast<T>(i);
        return;
      }
      expected += (i > 0 ? " or " : "") + std::string(EnumNames<T>::kNames[i]);
    }
    fail(ErrorCode::bad_format, "expected ", expected, ", got ", json.as_string());
  } else if constexpr (std::is_same_v<T, Index>) {
    value = static_cast<Index>(json.as_integer());
    require(value > 0, ErrorCode::invalid_argument, "expected a number above zero, got ", value);
  } else if constexpr (std::is_same_v<T, double>) {
    value = json.as_number();
  } else if constexpr (std::is_same_v<T, bool>) {
    value = json.as_bool();
  } else if constexpr (std::is_same_v<T, std::string>) {
    value = json.as_string();
  } else {
    value.clear();
    for (const Json& item : json.as_array()) {
      if constexpr (std::is_same_v<T, std::vector<double>>) {
        value.push_back(item.as_number());
      } else {
        value.push_back(static_cast<Index>(item.as_integer()));
        require(value.back() >= 0, ErrorCode::invalid_argument, "expected no negative number");
      }
    }
  }
}

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
  Json json;
  detail::visit_fields(config, [&](const char* name, const auto& field) {
    json.set(name, detail::to_json_value(field));
  });
  return json;
}

/// Sets the fields that the JSON object names. Throws `invalid_argument` for an unknown field or a
/// wrong type, naming the field.
inline void apply_json(const Json& json, ModelConfig& config) {
  std::vector<std::string> known;
  if (const Json* kind = json.find("encoder")) detail::from_json_value(*kind, config.encoder);
  detail::visit_fields(config, [&](const char* name, auto& field) {
    known.emplace_back(name);
    const Json* value = json.find(name);
    if (value == nullptr) return;
    try {
      detail::from_json_value(*value, field);
    } catch (const Error& error) {
      fail(ErrorCode::invalid_argument, "config field \"", name, "\": ", error.what());
    }
  });
  for (const auto& member : json.as_object()) {
    bool found = false;
    for (const std::string& name : known) found = found || name == member.first;
    require(found, ErrorCode::invalid_argument, "unknown config field \"", member.first,
            "\" for a model with encoder ",
            detail::EnumNames<EncoderKind>::kNames[static_cast<std::size_t>(config.encoder)]);
  }
}

/// Throws `invalid_argument` naming the fields if they contradict each other, so that no later code
/// has to doubt them.
inline void validate(const ModelConfig& config) {
  const auto check = [](bool good, const auto&... parts) {
    require(good, ErrorCode::invalid_argument, "config: ", parts...);
  };
  check(config.image_size <= 8192, "image_size ", config.image_size, " is above 8192");
  if (config.encoder == EncoderKind::vit) {
    check(config.image_size % config.patch_size == 0, "image_size ", config.image_size,
          " is not a multiple of patch_size ", config.patch_size);
    check(config.encoder_embed_dim % config.encoder_num_heads == 0, "encoder_embed_dim ",
          config.encoder_embed_dim, " is not a multiple of encoder_num_heads ",
          config.encoder_num_heads);
    check(config.encoder_depth <= 1024, "encoder_depth ", config.encoder_depth, " is above 1024");
    for (Index block : config.global_attn_indexes) {
      check(block < config.encoder_depth, "global_attn_indexes names block ", block, " of ",
            config.encoder_depth);
    }
  } else {
    const std::size_t stages = config.embed_dims.size();
    check(
        stages >= 2 && stages <= 8 && config.depths.size() == stages &&
            config.num_heads.size() == stages && config.window_sizes.size() == stages,
        "embed_dims, depths, num_heads and window_sizes need the same number (2 to 8) of entries");
    for (std::size_t stage = 0; stage < stages; ++stage) {
      check(config.embed_dims[stage] > 0 && config.num_heads[stage] > 0 &&
                config.window_sizes[stage] > 0 &&
                config.embed_dims[stage] % config.num_heads[stage] == 0,
            "embed_dims, num_heads or window_sizes of stage ", stage, " do not fit");
    }
    check(config.local_conv_size % 2 == 1, "local_conv_size must be odd");
  }
  const Index inner = config.prompt_embed_dim / config.attention_downsample_rate;
  check(config.prompt_embed_dim % 8 == 0 &&
            config.prompt_embed_dim % config.decoder_num_heads == 0 &&
            inner % config.decoder_num_heads == 0 && inner > 0,
        "prompt_embed_dim ", config.prompt_embed_dim, " does not fit decoder_num_heads ",
        config.decoder_num_heads, " and attention_downsample_rate ",
        config.attention_downsample_rate);
  check(config.mask_in_chans % 4 == 0, "mask_in_chans must be a multiple of 4");
  check(config.iou_head_depth >= 1 && config.iou_head_depth <= 64, "iou_head_depth out of range");
  check(config.decoder_depth <= 64, "decoder_depth out of range");
  check(config.pixel_mean.size() == 3 && config.pixel_std.size() == 3,
        "pixel_mean and pixel_std need three numbers");
  for (double deviation : config.pixel_std) check(deviation > 0, "pixel_std must be above zero");
}

}  // namespace promiseg

// What a pack is, besides its weights: which of the paper's modules it holds and how they are set.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "promiseg/sam/mask_cleaning.hpp"
#include "promiseg/sam/model_config.hpp"

namespace promiseg {

/// How a pack predicts prompts.
enum class ApmKind {
  none,    ///< it does not: prompts are given, or `own_prompt`
  resnet,  ///< convolutions over concatenated features, then a ResNet
  cross,   ///< learned queries that attend to the features
};

/// What stands in for prompts when a pack without APM is used without any.
enum class OwnPrompt {
  none,   ///< nothing: the user must give prompts
  image,  ///< the whole model frame as a box, which is how IPS alone is trained by default
};

/// Settings of a pack. Field names are those of the original code where it has them, and of the
/// JSON.
struct PackConfig {
  ApmKind apm = ApmKind::none;
  bool ips = false;
  std::string label;  ///< what the pack finds, for legends and reports
  OwnPrompt own_prompt = OwnPrompt::none;

  // APM.
  std::vector<Index> tap_blocks = {12, 9, 6};  ///< features, in the order of concatenation:
                                               ///< ViT blocks from 1, TinyViT stages from 0
  Index point_num = 16;
  std::vector<Index> point_value = {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0};
  double point_scale = 1024.0;                      ///< coordinates are sigmoid * point_scale
  std::vector<Index> resnet_blocks = {3, 4, 6, 3};  ///< of the ResNet's four layers
  Index cross_num_heads = 12;
  Index cross_num_layers = 1;  ///< per feature

  // IPS and the decoder.
  bool decoder = false;  ///< it has its own prompt encoder and mask decoder, trained with it
  Index ips_hidden_dim = 1024;
  Index mask_token = 1;  ///< the token whose mask is the answer

  MaskCleaning cleaning;

  friend bool operator==(const PackConfig&, const PackConfig&) = default;
};

namespace detail {

template <>
struct EnumNames<ApmKind> {
  static constexpr std::array<std::string_view, 3> kNames = {"none", "resnet", "cross"};
};
template <>
struct EnumNames<OwnPrompt> {
  static constexpr std::array<std::string_view, 2> kNames = {"none", "image"};
};

/// Every field of a pack config that its modules use.
template <class Config, class Visit>
void visit_fields_of_pack(Config& config, const Visit& visit) {
  visit("apm", config.apm);
  visit("ips", config.ips);
  visit("label", config.label);
  visit("own_prompt", config.own_prompt);
  if (config.apm != ApmKind::none) {
    visit("tap_blocks", config.tap_blocks);
    visit("point_num", config.point_num);
    visit("point_value", config.point_value);
    visit("point_scale", config.point_scale);
  }
  if (config.apm == ApmKind::resnet) visit("resnet_blocks", config.resnet_blocks);
  if (config.apm == ApmKind::cross) {
    visit("cross_num_heads", config.cross_num_heads);
    visit("cross_num_layers", config.cross_num_layers);
  }
  visit("decoder", config.decoder);
  if (config.ips) visit("ips_hidden_dim", config.ips_hidden_dim);
  visit("mask_token", config.mask_token);
  visit("cleaning", config.cleaning);
}

}  // namespace detail

inline Json to_json(const PackConfig& config) {
  return detail::fields_to_json(
      [&](const auto& visit) { detail::visit_fields_of_pack(config, visit); });
}

/// Sets the fields that the JSON object names. Throws `invalid_argument` for an unknown field or a
/// wrong type, naming the field.
inline void apply_json(const Json& json, PackConfig& config) {
  // These first: they decide which fields there are.
  detail::apply_field(json, "apm", config.apm);
  detail::apply_field(json, "ips", config.ips);
  detail::apply_fields(json,
                       [&](const auto& visit) { detail::visit_fields_of_pack(config, visit); });
}

/// Channels of the features that a tap gives. Throws `invalid_argument` if the model has no such
/// tap, or one of another resolution than the embedding.
inline Index tap_channels(const ModelConfig& model, Index tap) {
  if (model.encoder == EncoderKind::vit) {
    require(tap >= 1 && tap <= model.encoder_depth, ErrorCode::invalid_argument,
            "tap_blocks: ", tap, ": the encoder has blocks 1 to ", model.encoder_depth);
    return model.encoder_embed_dim;
  }
  const auto stages = static_cast<Index>(model.embed_dims.size());
  require(tap >= 0 && tap < stages, ErrorCode::invalid_argument, "tap_blocks: ", tap,
          ": the encoder has stages 0 to ", stages - 1);
  Index side = model.image_size;
  for (Index stage = 0; stage <= tap && stage + 1 < stages; ++stage) {
    side /= model.merging_stride(static_cast<std::size_t>(stage));
  }
  require(side == model.grid(), ErrorCode::invalid_argument, "tap_blocks: stage ", tap, " has ",
          side, " positions a side, the embedding ", model.grid());
  return model.embed_dims[static_cast<std::size_t>(std::min(tap + 1, stages - 1))];
}

namespace detail {

template <class... Parts>
void check_pack(bool good, const Parts&... parts) {
  require(good, ErrorCode::invalid_argument, "pack config: ", parts...);
}

inline void check_pack_range(std::string_view name, Index value, Index low, Index high) {
  check_pack(value >= low && value <= high, name, ": expected ", low, " to ", high, ", got ",
             value);
}

inline void validate_points(const PackConfig& config) {
  constexpr double kMaxScale = 1e6;
  check_pack_range("point_num", config.point_num, 1, 4096);
  check_pack(config.point_value.size() == static_cast<std::size_t>(config.point_num),
             "point_num is ", config.point_num, " but point_value has ", config.point_value.size(),
             " labels");
  for (Index label : config.point_value) {
    check_pack(label >= 0 && label <= 3,
               "point_value: expected labels 0 (background), 1 (object), 2 and 3 (box corners), "
               "got ",
               label);
  }
  check_pack(config.point_scale > 0.0 && config.point_scale <= kMaxScale,
             "point_scale: expected above 0 and at most ", kMaxScale, ", got ", config.point_scale);
}

}  // namespace detail

/// Throws `invalid_argument` naming the field if one is out of range or two contradict each other,
/// as far as that can be said without the model.
inline void validate(const PackConfig& config) {
  using detail::check_pack;
  using detail::check_pack_range;
  constexpr Index kMaxParts = 64;
  check_pack(config.apm != ApmKind::none || config.ips, "it holds neither APM nor IPS");
  check_pack_range("mask_token", config.mask_token, 0, kMaxParts);
  if (config.ips) {
    check_pack_range("ips_hidden_dim", config.ips_hidden_dim, 1, detail::kMaxDimension);
  }
  try {
    validate(config.cleaning);
  } catch (const Error& error) {
    fail(error.code(), "pack config: ", error.what());
  }
  if (config.apm == ApmKind::none) return;
  detail::validate_points(config);
  check_pack(
      !config.tap_blocks.empty() && config.tap_blocks.size() <= static_cast<std::size_t>(kMaxParts),
      "tap_blocks: expected 1 to ", kMaxParts, " taps, got ", config.tap_blocks.size());
  for (Index tap : config.tap_blocks) check_pack_range("tap_blocks", tap, 0, 1024);
  if (config.apm == ApmKind::resnet) {
    check_pack(config.resnet_blocks.size() == 4, "resnet_blocks needs four numbers");
    for (Index blocks : config.resnet_blocks) {
      check_pack_range("resnet_blocks", blocks, 1, kMaxParts);
    }
  } else {
    check_pack(config.tap_blocks.size() == 3, "APM by cross attention needs three tap_blocks, got ",
               config.tap_blocks.size());
    check_pack_range("cross_num_heads", config.cross_num_heads, 1, detail::kMaxDimension);
    check_pack_range("cross_num_layers", config.cross_num_layers, 1, kMaxParts);
  }
}

/// The taps that packs read if nothing else is said, deepest first: the ViT blocks at the end of
/// every quarter of the depth (12, 9, 6, 3 of twelve), the TinyViT stages of the embedding's
/// resolution (3, 2, 1).
inline std::vector<Index> usual_taps(const ModelConfig& model) {
  std::vector<Index> taps;
  if (model.encoder == EncoderKind::vit) {
    constexpr Index kQuarters = 4;
    for (Index quarter = kQuarters; quarter >= 1; --quarter) {
      const Index block = (model.encoder_depth * quarter + kQuarters / 2) / kQuarters;
      if (block >= 1 && (taps.empty() || block < taps.back())) taps.push_back(block);
    }
    return taps;
  }
  for (auto stage = static_cast<Index>(model.embed_dims.size()) - 1; stage >= 0; --stage) {
    try {
      tap_channels(model, stage);
    } catch (const Error&) {
      break;  // this stage and all before it are finer than the embedding
    }
    taps.push_back(stage);
  }
  return taps;
}

/// Throws `invalid_argument` naming the fields if they contradict each other or the model.
inline void validate(const PackConfig& config, const ModelConfig& model) {
  using detail::check_pack;
  validate(config);
  check_pack(config.mask_token < model.mask_tokens(), "mask_token ", config.mask_token,
             ": the model has tokens 0 to ", model.mask_tokens() - 1);
  if (config.apm == ApmKind::none) return;
  for (Index tap : config.tap_blocks) tap_channels(model, tap);
  if (config.apm == ApmKind::cross) {
    const Index width = tap_channels(model, config.tap_blocks.front());
    for (Index tap : config.tap_blocks) {
      check_pack(tap_channels(model, tap) == width,
                 "APM by cross attention needs taps of one width");
    }
    check_pack(width % config.cross_num_heads == 0, "cross_num_heads ", config.cross_num_heads,
               " does not divide the width ", width);
    check_pack(width % 4 == 0, "the width ", width, " must be a multiple of 4");
  }
  check_pack(config.point_scale <= static_cast<double>(model.image_size), "point_scale ",
             config.point_scale, ": the model's frame has ", model.image_size, " pixels a side");
}

}  // namespace promiseg

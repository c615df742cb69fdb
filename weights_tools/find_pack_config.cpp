#include "find_pack_config.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "promiseg/adapt/apm_cross.hpp"
#include "promiseg/adapt/apm_resnet.hpp"
#include "tensor_shapes.hpp"

namespace promiseg::tools {

namespace {

constexpr const char* kUntold = ": assumed, the weights do not tell";

/// Finds the fields one after the other.
class PackConfigFinder {
 public:
  PackConfigFinder(const TensorShapes& shapes, const ModelConfig& model,
                   const std::optional<Json>& overrides)
      : shapes_(shapes), model_(model), overrides_(overrides) {}

  FoundPackConfig find() {
    PackConfig& config = found_.config;
    const bool resnet =
        shapes_.contains_prefix("apm_resnet.") || shapes_.contains_prefix("apm_feature_map.");
    const bool cross = shapes_.contains_prefix("apm_cross");
    require(!resnet || !cross, ErrorCode::bad_weights, shapes_.label(),
            ": expected one kind of APM, found tensors of both: apm_resnet and apm_cross");
    config.ips = shapes_.contains_prefix("ips_ffn.");
    require(resnet || cross || config.ips, ErrorCode::bad_weights, shapes_.label(),
            ": expected tensors of ProMISe's modules (apm_resnet, apm_cross or ips_ffn)");
    if (resnet) find_resnet();
    if (cross) find_cross();
    if (config.ips) config.ips_hidden_dim = shapes_.extent("ips_ffn.lin1.weight", 2, 0);
    config.mask_token = model_.encoder == EncoderKind::tiny_vit ? 0 : 1;
    assume("mask_token", config.mask_token);
    apply_overrides();
    return std::move(found_);
  }

 private:
  bool overridden(std::string_view field) const {
    return overrides_.has_value() && overrides_->find(field) != nullptr;
  }

  /// Notes that a field keeps a value the weights do not tell.
  template <class T>
  void assume(const char* field, const T& value) {
    if (overridden(field)) return;
    found_.notes.push_back(std::string(field) + " " + detail::to_json_value(value).dump() +
                           kUntold);
  }

  void find_resnet() {
    PackConfig& config = found_.config;
    config.apm = ApmKind::resnet;
    config.resnet_blocks.clear();
    for (std::size_t layer = 1; layer <= kResnetWidths.size(); ++layer) {
      const std::string prefix = "apm_resnet.layer" + std::to_string(layer) + ".";
      config.resnet_blocks.push_back(shapes_.count(prefix));
      if (config.resnet_blocks.back() == 0) shapes_.at(prefix + "0.conv1.weight", 4);
    }
    const std::string fc = "apm_resnet.fc.weight";
    const Index outputs = shapes_.extent(fc, 2, 0);
    shapes_.check(outputs % 2 == 0, fc, "an even number of rows, x and y of every point");
    find_points(fc, outputs / 2);
    const std::string fusion = "apm_feature_map.fusion_conv1.weight";
    find_fused_taps(fusion, shapes_.extent(fusion, 4, 1));
  }

  void find_cross() {
    constexpr Index kLevels = detail::kCrossLevels;
    PackConfig& config = found_.config;
    config.apm = ApmKind::cross;
    const std::string queries = "apm_cross.query_feat.weight";
    const Index width = shapes_.extent(queries, 2, 1);
    find_points(queries, shapes_.extent(queries, 2, 0));
    const Index layers = shapes_.count("apm_cross.layers.");
    require(layers > 0 && layers % kLevels == 0, ErrorCode::bad_weights, shapes_.label(),
            ": expected layers \"apm_cross.layers.N\" for ", kLevels, " features, found ", layers);
    config.cross_num_layers = layers / kLevels;
    require(overridden("cross_num_heads") || width % config.cross_num_heads == 0,
            ErrorCode::bad_weights, shapes_.label(),
            ": the weights do not tell cross_num_heads, and ", config.cross_num_heads,
            ", the original's, do not divide the width ", width, "; set it in the config");
    assume("cross_num_heads", config.cross_num_heads);
    if (overridden("tap_blocks")) return;
    const std::vector<Index> taps = usual_taps(model_);
    require(taps.size() >= kLevels, ErrorCode::bad_weights, shapes_.label(),
            ": the model does not tell which three features APM attends to; set tap_blocks in the "
            "config");
    config.tap_blocks.assign(taps.begin(), taps.begin() + kLevels);
    for (Index tap : config.tap_blocks) {
      shapes_.check(tap_channels(model_, tap) == width, queries, tap_channels(model_, tap),
                    " columns, the width of the model's features ", tap,
                    " (set tap_blocks in the config for others)");
    }
    note_taps();
  }

  /// `name` is the tensor whose rows tell how many points there are.
  void find_points(const std::string& name, Index points) {
    PackConfig& config = found_.config;
    shapes_.check(points <= kMostPoints, name, "rows for at most ", kMostPoints, " points");
    if (overridden("point_num")) {
      require(overrides_->at("point_num") == Json(static_cast<std::int64_t>(points)),
              ErrorCode::invalid_argument, shapes_.label(), ": point_num is ",
              overrides_->at("point_num").dump(), " in the config, but tensor \"", name,
              "\" is made for ", points, " points");
    }
    config.point_num = points;
    const Index objects = (points + 1) / 2;
    config.point_value.assign(static_cast<std::size_t>(points), 0);
    std::fill_n(config.point_value.begin(), objects, 1);
    found_.labels_assumed = !overridden("point_value");
    if (found_.labels_assumed) {
      found_.notes.push_back("point_value: first " + std::to_string(objects) + " object, then " +
                             std::to_string(points - objects) + " background points" + kUntold);
    }
    config.point_scale = static_cast<double>(model_.image_size);
    assume("point_scale", config.point_scale);
  }

  /// The first of the likely taps that together have `channels`.
  void find_fused_taps(const std::string& name, Index channels) {
    if (overridden("tap_blocks")) return;
    std::vector<Index>& taps = found_.config.tap_blocks;
    taps.clear();
    Index sum = 0;
    std::string sums;
    for (Index tap : usual_taps(model_)) {
      taps.push_back(tap);
      sum += tap_channels(model_, tap);
      if (sum == channels) return note_taps();
      sums += (sums.empty() ? "" : ", ") + std::to_string(sum);
    }
    shapes_.check(false, name, "as many inputs as one or more of the model's features have (", sums,
                  "; set tap_blocks in the config for others)");
  }

  void note_taps() {
    std::string note =
        "tap_blocks " + detail::to_json_value(found_.config.tap_blocks).dump() + kUntold;
    constexpr Index kPaperDepth = 12;
    if (model_.encoder == EncoderKind::vit && model_.encoder_depth != kPaperDepth) {
      note += " (the paper's fractions of " + std::to_string(model_.encoder_depth) + " blocks)";
    }
    found_.notes.push_back(std::move(note));
  }

  void apply_overrides() {
    try {
      if (overrides_.has_value()) apply_json(*overrides_, found_.config);
      validate(found_.config, model_);
    } catch (const Error& error) {
      fail(error.code(), shapes_.label(), ": ", error.what());
    }
  }

  static constexpr Index kMostPoints = 4096;  // as `validate` allows

  const TensorShapes& shapes_;
  const ModelConfig& model_;
  const std::optional<Json>& overrides_;
  FoundPackConfig found_;
};

std::string list(const std::vector<Index>& numbers) {
  std::string text;
  for (Index number : numbers) text += (text.empty() ? "" : ", ") + std::to_string(number);
  return text;
}

std::string describe_resnet(const std::vector<Index>& blocks) {
  if (blocks == std::vector<Index>{2, 2, 2, 2}) return "ResNet-18";
  if (blocks == std::vector<Index>{3, 4, 6, 3}) return "ResNet-34";
  return "ResNet of " + list(blocks) + " blocks";
}

/// "8 object, 8 background": how many points have each label.
std::string describe_labels(const std::vector<Index>& labels) {
  constexpr std::array<std::string_view, 4> kNames = {"background", "object", "first box corner",
                                                      "second box corner"};
  std::string text;
  for (const std::size_t label : std::array<std::size_t, 4>{1, 0, 2, 3}) {
    const auto count = std::count(labels.begin(), labels.end(), static_cast<Index>(label));
    if (count == 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + std::string(kNames[label]);
  }
  return text;
}

}  // namespace

FoundPackConfig find_pack_config(const TensorEntries& tensors, const ModelConfig& model,
                                 const std::optional<Json>& overrides, const std::string& label) {
  const TensorShapes shapes(tensors, label, "all weights of one of ProMISe's modules");
  return PackConfigFinder(shapes, model, overrides).find();
}

std::string describe_pack(const PackConfig& config, bool labels_assumed) {
  std::string text;
  if (config.apm != ApmKind::none) {
    text = "APM " +
           (config.apm == ApmKind::resnet
                ? describe_resnet(config.resnet_blocks)
                : "cross attention of " +
                      std::to_string(detail::kCrossLevels * config.cross_num_layers) + " layers");
    text += ", taps " + list(config.tap_blocks) + ", " + std::to_string(config.point_num) +
            " points (" + describe_labels(config.point_value) +
            (labels_assumed ? "; assumed)" : ")");
  }
  if (config.ips) {
    text += (text.empty() ? "" : ", ") + std::string("IPS hidden ") +
            std::to_string(config.ips_hidden_dim);
  }
  return text;
}

}  // namespace promiseg::tools

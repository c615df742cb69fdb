#include "sort_tensors.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "promiseg/adapt/pack_config.hpp"
#include "promiseg/io/pickle_value.hpp"
#include "promiseg/sam/model_config.hpp"

namespace promiseg::tools {

namespace {

constexpr std::string_view kOlderIps = "ffn.";
constexpr std::string_view kIps = "ips_ffn.";

bool is_ignored_tensor(std::string_view name) {
  return name == "num_batches_tracked" || name.ends_with(".num_batches_tracked") ||
         name == "pixel_mean" || name == "pixel_std";
}

void add_names(const Json& config, std::set<std::string>& names) {
  for (const auto& [name, value] : config.as_object()) names.insert(name);
}

std::set<std::string> model_fields() {
  std::set<std::string> names;
  ModelConfig config;
  for (EncoderKind encoder : {EncoderKind::vit, EncoderKind::tiny_vit}) {
    config.encoder = encoder;
    add_names(to_json(config), names);
  }
  return names;
}

std::set<std::string> pack_fields() {
  std::set<std::string> names;
  PackConfig config;
  config.ips = true;
  for (ApmKind apm : {ApmKind::resnet, ApmKind::cross}) {
    config.apm = apm;
    add_names(to_json(config), names);
  }
  return names;
}

}  // namespace

bool SortedTensors::holds_sam() const {
  constexpr std::array<std::string_view, 3> kRoots = {"image_encoder.", "prompt_encoder.",
                                                      "mask_decoder."};
  return std::any_of(kRoots.begin(), kRoots.end(), [&](std::string_view root) {
    const auto first = model.lower_bound(root);
    return first != model.end() && first->first.starts_with(root);
  });
}

SortedTensors sort_tensors(const TensorEntries& tensors, const std::string& label) {
  SortedTensors sorted;
  for (const auto& [name, entry] : tensors) {
    if (is_ignored_tensor(name)) continue;
    if (!is_adapter_tensor(name)) {
      sorted.model.emplace(name, entry);
      continue;
    }
    std::string renewed = name;
    if (name.starts_with(kOlderIps)) renewed.replace(0, kOlderIps.size(), kIps);
    require(sorted.pack.emplace(renewed, entry).second, ErrorCode::bad_weights, label,
            ": tensor \"", printable(renewed, 200), "\" is there twice, also under its older name");
  }
  return sorted;
}

bool is_adapter_tensor(std::string_view name) {
  return name.starts_with("apm_") || name.starts_with(kIps) || name.starts_with(kOlderIps);
}

SortedConfig sort_config(const Json& fields) {
  require(fields.is_object(), ErrorCode::invalid_argument,
          "config: expected a JSON object of config fields, got ", fields.type_name());
  const std::set<std::string> of_models = model_fields();
  const std::set<std::string> of_packs = pack_fields();
  SortedConfig sorted;
  for (const auto& [name, value] : fields.as_object()) {
    require(of_models.contains(name) || of_packs.contains(name), ErrorCode::invalid_argument,
            "unknown config field \"", printable(name, 200), "\"");
    (of_packs.contains(name) ? sorted.pack : sorted.model).set(name, value);
  }
  return sorted;
}

}  // namespace promiseg::tools

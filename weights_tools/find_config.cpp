#include "find_config.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>

#include "tensor_shapes.hpp"

namespace promiseg::tools {

namespace {

/// Finds the fields one after the other.
class ConfigFinder {
 public:
  ConfigFinder(const TensorShapes& shapes, const std::optional<Json>& overrides)
      : shapes_(shapes), overrides_(overrides) {}

  FoundConfig find() {
    if (shapes_.contains_prefix("image_encoder.layers.") ||
        shapes_.contains_prefix("image_encoder.patch_embed.seq.")) {
      config_ = published_config("litemedsam");
      find_tiny_vit();
    } else {
      config_ = published_config("vit_b");
      find_vit();
    }
    find_prompt_encoder();
    find_decoder();
    if (overrides_.has_value()) apply_json(*overrides_, config_);
    validate(config_);
    return {config_, notes_};
  }

 private:
  bool overridden(std::string_view field) const {
    return overrides_.has_value() && overrides_->find(field) != nullptr;
  }

  /// Notes that a field keeps a value the weights do not tell.
  template <class T>
  void assume(const char* field, const T& value) {
    if (overridden(field)) return;
    notes_.push_back(std::string(field) + " " + detail::to_json_value(value).dump() +
                     ": assumed, the weights do not tell");
  }

  void find_vit() {
    const std::string root = "image_encoder.";
    const std::string patches = root + "patch_embed.proj.weight";
    const auto& projection = shapes_.at(patches, 4);
    shapes_.check(projection[1] == 3 && projection[2] == projection[3], patches,
                  "shape [C, 3, P, P]");
    const Index width = projection[0];
    config_.encoder_embed_dim = width;
    config_.patch_size = projection[2];
    const auto& positions = shapes_.at(root + "pos_embed", 4);
    shapes_.check(positions[1] == positions[2], root + "pos_embed", "shape [1, G, G, C]");
    const Index grid = positions[1];
    config_.image_size = grid * config_.patch_size;
    config_.encoder_depth = shapes_.count(root + "blocks.");
    require(config_.encoder_depth > 0, ErrorCode::bad_weights, shapes_.label(),
            ": tensor \"image_encoder.blocks.0.norm1.weight\" is missing");
    find_mlp_ratio(root + "blocks.0.mlp.lin1.weight", width);
    find_attention(grid);
  }

  /// A ratio that gives back the hidden width, rounding down as the original does.
  void find_mlp_ratio(const std::string& name, Index width) {
    const Index hidden = shapes_.extent(name, 2, 0);
    config_.mlp_ratio = static_cast<double>(hidden) / static_cast<double>(width);
    if (config_.mlp_dim(width) != hidden) {
      config_.mlp_ratio = (static_cast<double>(hidden) + 0.5) / static_cast<double>(width);
    }
  }

  /// Heads, windows and global blocks, from the tables of relative positions.
  void find_attention(Index grid) {
    const auto table = [](Index block) {
      return "image_encoder.blocks." + std::to_string(block) + ".attn.rel_pos_h";
    };
    const Index depth = config_.encoder_depth;
    config_.use_rel_pos = false;
    for (Index block = 0; block < depth; ++block) {
      config_.use_rel_pos = config_.use_rel_pos || shapes_.contains(table(block));
    }
    if (!config_.use_rel_pos) return find_attention_without_tables();

    const Index head_dim = shapes_.extent(table(0), 2, 1);
    shapes_.check(config_.encoder_embed_dim % head_dim == 0, table(0),
                  "columns that divide the embedding of ", config_.encoder_embed_dim);
    config_.encoder_num_heads = config_.encoder_embed_dim / head_dim;

    std::vector<Index> rows;
    for (Index block = 0; block < depth; ++block) {
      rows.push_back(shapes_.extent(table(block), 2, 0));
    }
    // Usually a global block's table has 2 * grid - 1 rows; tables kept from another image size are
    // told by being the longer of two kinds.
    std::set<Index> lengths(rows.begin(), rows.end());
    Index global_rows = 2 * grid - 1;
    if (!lengths.contains(global_rows) && lengths.size() == 2) global_rows = *lengths.rbegin();
    lengths.erase(global_rows);
    if (lengths.size() > 1) {
      require(overridden("window_size") && overridden("global_attn_indexes"),
              ErrorCode::bad_weights, shapes_.label(),
              ": the rel_pos tables of the windowed blocks have ", lengths.size(),
              " different lengths, which does not tell the window; set window_size and "
              "global_attn_indexes in the config");
      return;
    }
    config_.global_attn_indexes.clear();
    for (Index block = 0; block < depth; ++block) {
      if (rows[static_cast<std::size_t>(block)] == global_rows) {
        config_.global_attn_indexes.push_back(block);
      }
    }
    if (lengths.empty()) {
      assume("window_size", config_.window_size);
      return;
    }
    config_.window_size = (*lengths.begin() + 1) / 2;
    // Windows larger than the grid, or global tables larger than needed: both can be.
    if (*lengths.begin() > global_rows) {
      assume("global_attn_indexes", config_.global_attn_indexes);
      assume("window_size", config_.window_size);
    }
  }

  /// Only a published size tells what the tables would.
  void find_attention_without_tables() {
    for (const char* arch : {"vit_b", "vit_l", "vit_h"}) {
      const ModelConfig published = published_config(arch);
      if (published.encoder_embed_dim != config_.encoder_embed_dim ||
          published.encoder_depth != config_.encoder_depth) {
        continue;
      }
      config_.encoder_num_heads = published.encoder_num_heads;
      config_.global_attn_indexes = published.global_attn_indexes;
      assume("encoder_num_heads", config_.encoder_num_heads);
      assume("global_attn_indexes", config_.global_attn_indexes);
      assume("window_size", config_.window_size);
      return;
    }
    require(overridden("encoder_num_heads") && overridden("global_attn_indexes") &&
                overridden("window_size"),
            ErrorCode::bad_weights, shapes_.label(),
            ": without rel_pos tables the weights do not tell encoder_num_heads, "
            "global_attn_indexes and window_size; set them in the config");
  }

  void find_tiny_vit() {
    const std::string root = "image_encoder.";
    const Index stages = shapes_.count(root + "layers.");
    require(stages >= 2 && stages <= 8, ErrorCode::bad_weights, shapes_.label(),
            ": expected 2 to 8 stages named \"image_encoder.layers.N\", found ", stages);
    const ModelConfig published = config_;
    const auto count = static_cast<std::size_t>(stages);
    config_.embed_dims = {shapes_.extent(root + "patch_embed.seq.2.c.weight", 4, 0)};
    config_.depths.clear();
    // The first stage has convolutions only: no weight shows its heads and window, nothing uses
    // them.
    config_.num_heads = {published.num_heads[0]};
    if (config_.embed_dims[0] % config_.num_heads[0] != 0) config_.num_heads[0] = 1;
    config_.window_sizes = {published.window_sizes[0]};
    for (std::size_t stage = 0; stage < count; ++stage) {
      const std::string layer = root + "layers." + std::to_string(stage) + ".";
      config_.depths.push_back(shapes_.count(layer + "blocks."));
      if (stage + 1 < count) {
        config_.embed_dims.push_back(shapes_.extent(layer + "downsample.conv1.c.weight", 4, 0));
      }
      if (stage > 0) find_window_attention(layer + "blocks.0.attn.attention_biases");
    }
    const std::string expand = root + "layers.0.blocks.0.conv1.c.weight";
    const auto& conv = shapes_.at(expand, 4);
    shapes_.check(conv[0] % conv[1] == 0, expand, "a multiple of its inputs as outputs");
    config_.mbconv_expand_ratio = conv[0] / conv[1];
    const std::string block = root + "layers.1.blocks.0.";
    config_.local_conv_size = shapes_.extent(block + "local_conv.c.weight", 4, 2);
    find_mlp_ratio(block + "mlp.fc1.weight", config_.embed_dims[1]);
    assume("image_size", config_.image_size);
  }

  /// `attention_biases` [heads, window * window].
  void find_window_attention(const std::string& name) {
    const auto& biases = shapes_.at(name, 2);
    const auto side = static_cast<Index>(std::lround(std::sqrt(static_cast<double>(biases[1]))));
    shapes_.check(side * side == biases[1], name, "a square number of columns");
    config_.num_heads.push_back(biases[0]);
    config_.window_sizes.push_back(side);
  }

  void find_prompt_encoder() {
    config_.mask_in_chans = shapes_.extent("prompt_encoder.mask_downscaling.3.weight", 4, 0);
  }

  void find_decoder() {
    constexpr Index kMostOutputs = 64;
    const std::string root = "mask_decoder.";
    const Index width = shapes_.extent(root + "iou_token.weight", 2, 1);
    config_.prompt_embed_dim = width;
    const std::string tokens = root + "mask_tokens.weight";
    config_.num_multimask_outputs = shapes_.extent(tokens, 2, 0) - 1;
    shapes_.check(
        config_.num_multimask_outputs >= 1 && config_.num_multimask_outputs <= kMostOutputs, tokens,
        "2 to ", kMostOutputs + 1, " rows");
    const std::string transformer = root + "transformer.";
    config_.decoder_depth = shapes_.count(transformer + "layers.");
    config_.decoder_mlp_dim = shapes_.extent(transformer + "layers.0.mlp.lin1.weight", 2, 0);
    const std::string query = transformer + "final_attn_token_to_image.q_proj.weight";
    const Index inner = shapes_.extent(query, 2, 0);
    shapes_.check(width % inner == 0, query, "rows that divide the width of ", width);
    config_.attention_downsample_rate = width / inner;
    const std::string head = root + "iou_prediction_head.layers.";
    config_.iou_head_depth = shapes_.count(head);
    if (config_.iou_head_depth > 1) {
      config_.iou_head_hidden_dim = shapes_.extent(head + "0.weight", 2, 0);
    }
    assume("decoder_num_heads", config_.decoder_num_heads);
  }

  const TensorShapes& shapes_;
  const std::optional<Json>& overrides_;
  ModelConfig config_;
  std::vector<std::string> notes_;
};

}  // namespace

std::string arch_name(const ModelConfig& config) {
  if (config.encoder == EncoderKind::tiny_vit) return "litemedsam";
  for (const char* arch : {"vit_b", "vit_l", "vit_h"}) {
    if (differences(published_config(arch), config).empty()) return arch;
  }
  return "vit";
}

FoundConfig find_config(const TensorEntries& tensors, const std::optional<Json>& overrides,
                        const std::string& label) {
  const TensorShapes shapes(tensors, label, "all weights of a SAM with a ViT or TinyViT encoder");
  FoundConfig found = ConfigFinder(shapes, overrides).find();
  found.config.arch = arch_name(found.config);
  return found;
}

std::vector<std::string> differences(const ModelConfig& expected, const ModelConfig& found) {
  std::vector<std::string> texts;
  const Json wanted = to_json(expected);
  const Json present = to_json(found);
  for (const auto& [field, value] : wanted.as_object()) {
    const Json* other = present.find(field);
    if (field == "arch" || (other != nullptr && *other == value)) continue;
    texts.push_back(field + ": expected " + value.dump() + ", found " +
                    (other != nullptr ? other->dump() : "none"));
    if (field == "encoder") break;  // the other fields are not the same ones
  }
  return texts;
}

}  // namespace promiseg::tools

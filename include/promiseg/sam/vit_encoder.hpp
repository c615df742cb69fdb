// SAM's image encoder: a plain vision transformer with windowed attention and relative positions.
// Follows segment_anything/modeling/image_encoder.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "promiseg/nn/attention.hpp"
#include "promiseg/nn/conv.hpp"
#include "promiseg/nn/norm.hpp"
#include "promiseg/sam/encoder_stage.hpp"
#include "promiseg/sam/model_config.hpp"

namespace promiseg {

struct VitBlockWeights {
  nn::NormWeights norm1;
  nn::LinearWeights qkv;
  nn::LinearWeights projection;
  TensorView<const float, 2> rel_pos_h;  ///< [2 * size - 1, head_dim], empty without rel. position
  TensorView<const float, 2> rel_pos_w;
  nn::NormWeights norm2;
  nn::LinearWeights lin1;
  nn::LinearWeights lin2;
};

/// The convolutions that bring encoder features to the prompt's width, shared by both encoders.
struct NeckWeights {
  nn::ConvWeights conv1;
  nn::NormWeights norm1;
  nn::ConvWeights conv2;
  nn::NormWeights norm2;
};

struct VitWeights {
  nn::ConvWeights patch_embed;
  TensorView<const float, 4> pos_embed;  ///< [1, grid, grid, C]
  std::vector<VitBlockWeights> blocks;
  NeckWeights neck;
};

inline NeckWeights neck_weights(nn::WeightSource& source, const ModelConfig& config, Index inputs) {
  const Index width = config.prompt_embed_dim;
  const auto epsilon = static_cast<float>(config.layernorm2d_eps);
  const std::string neck = "image_encoder.neck.";
  return {nn::conv_weights(source, neck + "0", {width, inputs, 1, 1}, 0),
          nn::norm_weights(source, neck + "1", width, epsilon),
          nn::conv_weights(source, neck + "2", {width, width, 3, 3}, 0),
          nn::norm_weights(source, neck + "3", width, epsilon)};
}

/// True if block `index` attends to the whole grid rather than in windows.
inline bool is_global_block(const ModelConfig& config, Index index) {
  const auto& blocks = config.global_attn_indexes;
  return std::find(blocks.begin(), blocks.end(), index) != blocks.end();
}

inline VitWeights vit_weights(nn::WeightSource& source, const ModelConfig& config) {
  const Index width = config.encoder_embed_dim;
  const Index hidden = config.mlp_dim(width);
  const Index head_dim = width / config.encoder_num_heads;
  const auto epsilon = static_cast<float>(config.encoder_ln_eps);
  const std::string root = "image_encoder.";
  VitWeights weights;
  weights.patch_embed = nn::conv_weights(source, root + "patch_embed.proj",
                                         {width, 3, config.patch_size, config.patch_size}, width);
  weights.pos_embed =
      source.get(root + "pos_embed", Extents<4>{1, config.grid(), config.grid(), width});
  for (Index i = 0; i < config.encoder_depth; ++i) {
    const std::string block = root + "blocks." + std::to_string(i) + ".";
    VitBlockWeights& target = weights.blocks.emplace_back();
    target.norm1 = nn::norm_weights(source, block + "norm1", width, epsilon);
    target.qkv = nn::linear_weights(source, block + "attn.qkv", 3 * width, width);
    target.projection = nn::linear_weights(source, block + "attn.proj", width, width);
    if (config.use_rel_pos) {
      const Index rows = 2 * (is_global_block(config, i) ? config.grid() : config.window_size) - 1;
      target.rel_pos_h = source.table(block + "attn.rel_pos_h", rows, head_dim);
      target.rel_pos_w = source.table(block + "attn.rel_pos_w", rows, head_dim);
    }
    target.norm2 = nn::norm_weights(source, block + "norm2", width, epsilon);
    target.lin1 = nn::linear_weights(source, block + "mlp.lin1", hidden, width);
    target.lin2 = nn::linear_weights(source, block + "mlp.lin2", width, hidden);
  }
  weights.neck = neck_weights(source, config, width);
  return weights;
}

namespace detail {

/// Rows of a relative position table between which one of `2 * size - 1` positions lies: a table of
/// another length is resized linearly, as `get_rel_pos` does.
struct TableRow {
  Index lower = 0;
  Index upper = 0;
  float weight = 0;  ///< of the upper one
};

inline TableRow table_row(Index rows, Index size, Index position) {
  const float step = static_cast<float>(rows) / static_cast<float>(2 * size - 1);
  const float at = std::max(0.0F, (static_cast<float>(position) + 0.5F) * step - 0.5F);
  const auto lower = std::min(static_cast<Index>(at), rows - 1);
  return {lower, std::min(lower + 1, rows - 1), at - static_cast<float>(lower)};
}

/// `table[y - ky + size - 1]` for all y, ky: [size, size, d].
inline Tensor<float, 3> expand_rel_pos(TensorView<const float, 2> table, Index size) {
  Tensor<float, 3> expanded({size, size, table.extent(1)});
  for (Index y = 0; y < size; ++y) {
    for (Index ky = 0; ky < size; ++ky) {
      const TableRow row = table_row(table.extent(0), size, y - ky + size - 1);
      for (Index c = 0; c < table.extent(1); ++c) {
        expanded.view()(y, ky, c) =
            (1.0F - row.weight) * table(row.lower, c) + row.weight * table(row.upper, c);
      }
    }
  }
  return expanded;
}

/// The gradient of a table grows by that of what it was expanded to.
inline void contract_rel_pos(TensorView<const float, 3> expanded, TensorView<float, 2> table) {
  const Index size = expanded.extent(0);
  for (Index y = 0; y < size; ++y) {
    for (Index ky = 0; ky < size; ++ky) {
      const TableRow row = table_row(table.extent(0), size, y - ky + size - 1);
      for (Index c = 0; c < table.extent(1); ++c) {
        table(row.lower, c) += (1.0F - row.weight) * expanded(y, ky, c);
        table(row.upper, c) += row.weight * expanded(y, ky, c);
      }
    }
  }
}

}  // namespace detail

/// The encoder's last convolutions, to [h, w, prompt_embed_dim].
template <Backend B>
class Neck {
 public:
  Neck(B& backend, const NeckWeights& weights)
      : conv1_(backend, weights.conv1, 1, 0),
        norm1_(backend, weights.norm1),
        conv2_(backend, weights.conv2, 1, 1),
        norm2_(backend, weights.norm2) {}

  /// in [h, w, C], out [h, w, prompt_embed_dim]
  void operator()(nn::Workspace<B>& workspace, TensorView<const float, 3> in,
                  TensorView<float, 3> out) const {
    const auto frame = workspace.frame();
    const auto in4 = in.with_unit_axis(0);
    const auto out4 = out.with_unit_axis(0);
    const Extents<2> flat{out.extent(0) * out.extent(1), out.extent(2)};
    const auto hidden = workspace.tensor(out4.extents());
    conv1_(workspace, in4, hidden);
    norm1_(workspace, hidden.reshaped(flat), hidden.reshaped(flat));
    conv2_(workspace, hidden, out4);
    norm2_(workspace, out.reshaped(flat), out.reshaped(flat));
  }

 private:
  nn::Conv2d<B> conv1_;
  nn::LayerNorm<B> norm1_;
  nn::Conv2d<B> conv2_;
  nn::LayerNorm<B> norm2_;
};

/// One transformer block (`Block` and `Attention` in the original).
template <Backend B>
class VitBlock {
 public:
  /// `window` 0 attends to the whole grid of side `grid`.
  VitBlock(B& backend, const VitBlockWeights& weights, Index heads, Index window, Index grid)
      : norm1_(backend, weights.norm1),
        qkv_(backend, weights.qkv),
        qkv_bias_(backend, weights.qkv.bias),
        projection_(backend, weights.projection),
        norm2_(backend, weights.norm2),
        mlp_(backend, weights.lin1, weights.lin2, Activation::gelu),
        heads_(heads),
        window_(window) {
    if (weights.rel_pos_h.data() == nullptr) return;
    const Index size = window > 0 ? window : grid;
    rel_pos_h_ = expanded(backend, weights.rel_pos_h, size);
    rel_pos_w_ = expanded(backend, weights.rel_pos_w, size);
  }

  /// Updates the tokens [h, w, C] in place.
  void operator()(nn::Workspace<B>& workspace, TensorView<float, 3> tokens) const {
    const auto frame = workspace.frame();
    const Index width = tokens.extent(2);
    const Extents<2> flat{tokens.extent(0) * tokens.extent(1), width};
    const TensorView<float, 2> rows = tokens.reshaped(flat);
    const auto normed = workspace.tensor(flat);

    norm1_(workspace, rows, normed);
    attend(workspace, normed, tokens.extent(0), tokens.extent(1));
    projection_(workspace, normed, rows, Activation::none, rows);

    norm2_(workspace, rows, normed);
    mlp_(workspace, normed, rows, rows);
  }

 private:
  static nn::Parameter<3> expanded(B& backend, TensorView<const float, 2> table, Index size) {
    return {backend, detail::expand_rel_pos(table, size).view(), [table](auto& tracker) {
              return [to = tracker.weight_gradient(table)](TensorView<const float, 4> gradient) {
                if (to.data() != nullptr) detail::contract_rel_pos(gradient.select(0, 0), to);
              };
            }};
  }

  /// Replaces the normed tokens [h * w, C] by what attention makes of them.
  void attend(nn::Workspace<B>& workspace, TensorView<float, 2> tokens, Index height,
              Index width) const {
    const auto frame = workspace.frame();
    const Index channels = tokens.extent(1);
    const Index depth = channels / heads_;
    const auto qkv = workspace.tensor(Extents<2>{tokens.extent(0), 3 * channels});
    qkv_(workspace, tokens, qkv);
    const auto parts = qkv.reshaped(Extents<5>{height, width, 3, heads_, depth});
    // A padded token is zero before qkv, so its key and value are the bias.
    const auto padding = qkv_bias_.view().reshaped(Extents<3>{3, heads_, depth});
    GridAttention attention;
    attention.window = window_;
    attention.scale = 1.0F / std::sqrt(static_cast<float>(depth));
    attention.padding_key = padding.select(0, 1);
    attention.padding_value = padding.select(0, 2);
    attention.relative_position = {rel_pos_h_.view(), rel_pos_w_.view()};
    nn::grid_attention<B>(workspace, parts.select(2, 0), parts.select(2, 1), parts.select(2, 2),
                          attention, tokens.reshaped(Extents<4>{height, width, heads_, depth}));
  }

  nn::LayerNorm<B> norm1_;
  nn::Linear<B> qkv_;
  nn::Parameter<1> qkv_bias_;
  nn::Linear<B> projection_;
  nn::LayerNorm<B> norm2_;
  nn::Mlp<B> mlp_;
  nn::Parameter<3> rel_pos_h_;
  nn::Parameter<3> rel_pos_w_;
  Index heads_;
  Index window_;
};

/// `ImageEncoderViT`, for one image at a time.
template <Backend B>
class VitEncoder {
 public:
  /// `after_block` is called whenever another block's weights have been copied.
  VitEncoder(
      B& backend, const ModelConfig& config, const VitWeights& weights,
      const std::function<void()>& after_block = [] {})
      : patch_embed_(backend, weights.patch_embed, config.patch_size, 0),
        pos_embed_(backend, weights.pos_embed),
        neck_(backend, weights.neck) {
    for (std::size_t i = 0; i < weights.blocks.size(); ++i) {
      const bool global = is_global_block(config, static_cast<Index>(i));
      blocks_.emplace_back(backend, weights.blocks[i], config.encoder_num_heads,
                           global ? 0 : config.window_size, config.grid());
      after_block();
    }
  }

  /// image [1, S, S, 3], embedding [grid, grid, prompt_embed_dim].
  void operator()(nn::Workspace<B>& workspace, TensorView<const float, 4> image,
                  TensorView<float, 3> embedding, const EncoderObserver& observe) const {
    const auto frame = workspace.frame();
    const auto tokens4 = workspace.tensor(patch_embed_.output(image.extents()));  // [1, h, w, C]
    const auto tokens = tokens4.select(0, 0);
    patch_embed_(workspace, image, tokens4);
    observe({EncoderStage::Kind::patch_embed, 0, 1, tokens});
    workspace.backend().add(tokens4, pos_embed_.view(), tokens4);
    const auto count = static_cast<Index>(blocks_.size());
    for (Index i = 0; i < count; ++i) {
      blocks_[static_cast<std::size_t>(i)](workspace, tokens);
      observe({EncoderStage::Kind::block, i, count, tokens});
    }
    neck_(workspace, tokens, embedding);
  }

 private:
  nn::Conv2d<B> patch_embed_;
  nn::Parameter<4> pos_embed_;
  std::vector<VitBlock<B>> blocks_;
  Neck<B> neck_;
};

}  // namespace promiseg

// From an image's embedding and prompts to masks: prompt encoder and mask decoder on one backend.
// Works in the model's frame, host tensors in and out.
#pragma once

#include <algorithm>
#include <span>
#include <utility>

#include "promiseg/nn/transfer.hpp"
#include "promiseg/sam/mask_decoder.hpp"
#include "promiseg/sam/prompt_encoder.hpp"

namespace promiseg {

/// Prompts as the decoder sees them.
struct EncodedPrompts {
  Tensor<float, 3> sparse;  ///< [B, tokens, C]
  Tensor<float, 4> dense;   ///< [B, grid, grid, C]
};

/// What the decoder predicts, for all mask tokens: 0 is the single mask, the others are the
/// alternatives of an ambiguous prompt.
struct DecodedMasks {
  Tensor<float, 4> logits;  ///< [B, mask tokens, 4 * grid, 4 * grid]
  Tensor<float, 2> iou;     ///< [B, mask tokens]
};

/// True if two prompts can be decoded in one batch: the same number of tokens, both with or both
/// without a mask prompt.
inline bool same_structure(const Prompt& a, const Prompt& b) {
  return a.points.size() == b.points.size() && a.box.has_value() == b.box.has_value() &&
         token_count(a) == token_count(b) && a.mask_logits.empty() == b.mask_logits.empty();
}

/// One object serves one thread at a time.
template <Backend B>
class PromptedDecoder {
 public:
  /// Copies (and packs) the weights; the views are not needed afterwards. The backend must outlive
  /// the decoder.
  PromptedDecoder(B& backend, const ModelConfig& config, const PromptEncoderWeights& prompts,
                  const MaskDecoderWeights& masks)
      : config_(config),
        workspace_(backend),
        prompt_encoder_(backend, config, prompts),
        mask_decoder_(backend, config, masks, prompt_encoder_.dense_pe()) {}

  const PromptEncoder<B>& prompt_encoder() const { return prompt_encoder_; }

  /// Encodes prompts of one structure. Throws `invalid_argument` or `shape_mismatch`.
  EncodedPrompts encode_prompts(std::span<const Prompt> prompts) {
    require(!prompts.empty(), ErrorCode::invalid_argument, "no prompts to encode");
    const auto frame = workspace_.frame();
    const auto batch = static_cast<Index>(prompts.size());
    const auto keys = workspace_.tensor(dense_extents(batch));
    const bool has_masks = encode_dense(prompts, keys);
    if (!has_masks) {
      backend().copy(prompt_encoder_.no_mask().broadcast_to(keys.extents()), keys);
    }
    return {encode_sparse(prompts), nn::download<4>(workspace_, keys)};
  }

  /// Decodes prompts of one structure in one batch. embedding [grid, grid, C]; `token_shift`
  /// [mask tokens, C], if given, is added to the mask tokens. Throws `invalid_argument` or
  /// `shape_mismatch`.
  DecodedMasks decode(TensorView<const float, 3> embedding, std::span<const Prompt> prompts,
                      TensorView<const float, 2> token_shift = {}) {
    const Index grid = config_.grid();
    require(!prompts.empty(), ErrorCode::invalid_argument, "no prompts to decode");
    require_shape(embedding, Extents<3>{grid, grid, config_.prompt_embed_dim}, "embedding");
    const auto frame = workspace_.frame();
    const auto batch = static_cast<Index>(prompts.size());
    const auto features = nn::upload(workspace_, embedding).with_unit_axis(0);
    const auto keys = workspace_.tensor(dense_extents(batch));
    TensorView<const float, 4> image = keys;
    if (encode_dense(prompts, keys)) {
      backend().add(features.broadcast_to(keys.extents()), keys, keys);
    } else {
      backend().add(features, prompt_encoder_.no_mask().broadcast_to(features.extents()), features);
      image = features.broadcast_to(keys.extents());
    }
    const Index masks = config_.mask_tokens();
    const Tensor<float, 3> host_tokens = decoder_tokens(prompts, token_shift);
    const auto tokens = nn::upload(workspace_, host_tokens.view());
    const auto logits = workspace_.tensor(Extents<4>{batch, masks, 4 * grid, 4 * grid});
    const auto iou = workspace_.tensor(Extents<2>{batch, masks});
    mask_decoder_(workspace_, image, keys, tokens, logits, iou);
    return {nn::download<4>(workspace_, logits), nn::download<2>(workspace_, iou)};
  }

 private:
  B& backend() { return workspace_.backend(); }

  Extents<4> dense_extents(Index batch) const {
    return {batch, config_.grid(), config_.grid(), config_.prompt_embed_dim};
  }

  Tensor<float, 3> encode_sparse(std::span<const Prompt> prompts) const {
    const Index count = token_count(prompts.front());
    Tensor<float, 3> sparse({static_cast<Index>(prompts.size()), count, config_.prompt_embed_dim});
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      require(same_structure(prompts[i], prompts.front()), ErrorCode::invalid_argument,
              "prompts of one batch need the same number of points, boxes and masks");
      prompt_encoder_.encode_sparse(prompts[i], sparse.view().select(0, static_cast<Index>(i)));
    }
    return sparse;
  }

  /// The decoder's own tokens, then the prompt's, for every prompt.
  Tensor<float, 3> decoder_tokens(std::span<const Prompt> prompts,
                                  TensorView<const float, 2> token_shift) const {
    const Index own = mask_decoder_.output_tokens();
    const Tensor<float, 3> sparse = encode_sparse(prompts);
    const Index count = sparse.extent(1);
    Tensor<float, 3> tokens({sparse.extent(0), own + count, config_.prompt_embed_dim});
    for (Index i = 0; i < tokens.extent(0); ++i) {
      const auto item = tokens.view().select(0, i);
      mask_decoder_.write_output_tokens(token_shift, item.slice(0, 0, own));
      for (Index row = 0; row < count; ++row) {
        const auto from = sparse.view().select(0, i).select(0, row);
        for (Index c = 0; c < from.extent(0); ++c) item(own + row, c) = from(c);
      }
    }
    return tokens;
  }

  /// Fills `dense` from mask prompts; false, and untouched, if there are none.
  bool encode_dense(std::span<const Prompt> prompts, TensorView<float, 4> dense) {
    if (prompts.front().mask_logits.empty()) return false;
    const Index side = prompt_encoder_.mask_size();
    Tensor<float, 4> masks({static_cast<Index>(prompts.size()), side, side, 1});
    float* to = masks.data();
    for (const Prompt& prompt : prompts) {
      require_shape(prompt.mask_logits.view(), Extents<2>{side, side}, "mask prompt");
      to = std::copy_n(prompt.mask_logits.data(), side * side, to);
    }
    const auto frame = workspace_.frame();
    prompt_encoder_.encode_masks(workspace_, nn::upload(workspace_, std::as_const(masks).view()),
                                 dense);
    return true;
  }

  ModelConfig config_;
  nn::Workspace<B> workspace_;
  PromptEncoder<B> prompt_encoder_;
  MaskDecoder<B> mask_decoder_;
};

}  // namespace promiseg

// From an image embedding and prompt tokens to mask logits and their predicted quality.
// Follows segment_anything/modeling/mask_decoder.py.
#pragma once

#include <string>
#include <vector>

#include "promiseg/nn/conv.hpp"
#include "promiseg/sam/two_way_transformer.hpp"

namespace promiseg {

struct MaskDecoderWeights {
  TwoWayTransformerWeights transformer;
  TensorView<const float, 2> iou_token;    ///< [1, C]
  TensorView<const float, 2> mask_tokens;  ///< [mask tokens, C]
  nn::ConvWeights upscale1;
  nn::NormWeights upscale_norm;
  nn::ConvWeights upscale2;
  std::vector<std::vector<nn::LinearWeights>> hypernetworks;
  std::vector<nn::LinearWeights> iou_head;
};

namespace detail {

/// The layers of an `MLP`: inputs to hidden, hidden to hidden, hidden to outputs.
inline std::vector<nn::LinearWeights> mlp_weights(nn::WeightSource& source,
                                                  const std::string& prefix, Index inputs,
                                                  Index hidden, Index outputs, Index depth) {
  std::vector<nn::LinearWeights> layers;
  for (Index i = 0; i < depth; ++i) {
    layers.push_back(nn::linear_weights(source, prefix + ".layers." + std::to_string(i),
                                        i + 1 == depth ? outputs : hidden,
                                        i == 0 ? inputs : hidden));
  }
  return layers;
}

}  // namespace detail

inline MaskDecoderWeights mask_decoder_weights(nn::WeightSource& source,
                                               const ModelConfig& config) {
  constexpr Index kHypernetworkDepth = 3;
  const Index width = config.prompt_embed_dim;
  const std::string root = "mask_decoder.";
  MaskDecoderWeights weights;
  weights.transformer = two_way_transformer_weights(source, config);
  weights.iou_token = source.get(root + "iou_token.weight", Extents<2>{1, width});
  weights.mask_tokens =
      source.get(root + "mask_tokens.weight", Extents<2>{config.mask_tokens(), width});
  weights.upscale1 =
      nn::conv_weights(source, root + "output_upscaling.0", {width, width / 4, 2, 2}, width / 4);
  weights.upscale_norm = nn::norm_weights(source, root + "output_upscaling.1", width / 4,
                                          static_cast<float>(config.layernorm2d_eps));
  weights.upscale2 = nn::conv_weights(source, root + "output_upscaling.3",
                                      {width / 4, width / 8, 2, 2}, width / 8);
  for (Index i = 0; i < config.mask_tokens(); ++i) {
    weights.hypernetworks.push_back(
        detail::mlp_weights(source, root + "output_hypernetworks_mlps." + std::to_string(i), width,
                            width, width / 8, kHypernetworkDepth));
  }
  weights.iou_head =
      detail::mlp_weights(source, root + "iou_prediction_head", width, config.iou_head_hidden_dim,
                          config.mask_tokens(), config.iou_head_depth);
  return weights;
}

/// `MaskDecoder`. Predicts the masks of all mask tokens; which of them are wanted is the caller's
/// choice (token 0 for a single mask, the others for several).
template <Backend B>
class MaskDecoder {
 public:
  /// key_pe [h, w, C], the positions of the image's tokens, lies in the backend's memory and must
  /// outlive the decoder.
  MaskDecoder(B& backend, const ModelConfig& config, const MaskDecoderWeights& weights,
              TensorView<const float, 3> key_pe)
      : transformer_(backend, weights.transformer, nn::as_rows(key_pe)),
        iou_token_(weights.iou_token),
        mask_tokens_(weights.mask_tokens),
        upscale1_(backend, weights.upscale1),
        upscale_norm_(backend, weights.upscale_norm),
        upscale2_(backend, weights.upscale2),
        iou_head_(backend, weights.iou_head),
        width_(config.prompt_embed_dim) {
    for (const auto& layers : weights.hypernetworks) hypernetworks_.emplace_back(backend, layers);
  }

  /// The decoder's own tokens, which stand before the prompt's: the IoU token and the mask tokens.
  Index output_tokens() const { return 1 + mask_tokens_.extent(0); }

  /// Writes them to `tokens` [output_tokens, C] on the host; `shift` [mask tokens, C], if given, is
  /// added to the mask tokens. Throws `shape_mismatch`.
  void write_output_tokens(TensorView<const float, 2> shift, TensorView<float, 2> tokens) const {
    const bool shifts = shift.data() != nullptr;
    if (shifts) require_shape(shift, mask_tokens_.extents(), "shift of the mask tokens");
    for (Index c = 0; c < width_; ++c) {
      tokens(0, c) = iou_token_.view()(0, c);
      for (Index t = 0; t < mask_tokens_.extent(0); ++t) {
        tokens(1 + t, c) = mask_tokens_.view()(t, c) + (shifts ? shift(t, c) : 0.0F);
      }
    }
  }

  /// image [B, h, w, C]: embedding plus dense prompt; it may be broadcast over B, then what depends
  /// on it alone is computed once. keys, of its shape, are working memory and may be the image's
  /// own.
  /// tokens [B, output_tokens + prompt tokens, C], overwritten.
  /// logits [B, mask tokens, 4h, 4w], iou [B, mask tokens]. All on the backend.
  void operator()(nn::Workspace<B>& workspace, TensorView<const float, 4> image,
                  TensorView<float, 4> keys, TensorView<float, 3> tokens,
                  TensorView<float, 4> logits, TensorView<float, 2> iou) const {
    const auto frame = workspace.frame();
    const Extents<3> flat{keys.extent(0), keys.extent(1) * keys.extent(2), width_};
    const auto token_pe = workspace.tensor(tokens.extents());
    workspace.backend().copy(tokens.with_unit_axis(0), token_pe.with_unit_axis(0));
    require(image.is_contiguous() || image.stride(0) == 0, ErrorCode::shape_mismatch,
            "mask decoder: the image must be contiguous or the same for all items");
    const auto image_tokens =
        image.is_contiguous()
            ? image.reshaped(flat)
            : image.select(0, 0).reshaped(Extents<3>{1, flat[1], flat[2]}).broadcast_to(flat);
    transformer_(workspace, {tokens, image_tokens, keys.reshaped(flat), token_pe});
    predict_masks(workspace, keys, tokens, logits);
    gather_token(workspace, tokens, 0,
                 [&](TensorView<float, 2> token) { iou_head_(workspace, token, iou); });
  }

 private:
  /// mask = hypernetwork(mask token) x upscaled image, for every mask token.
  void predict_masks(nn::Workspace<B>& workspace, TensorView<const float, 4> image,
                     TensorView<const float, 3> tokens, TensorView<float, 4> logits) const {
    const auto frame = workspace.frame();
    const auto upscaled = upscale(workspace, image);
    const Index batch = upscaled.extent(0);
    const Index pixels = upscaled.extent(1) * upscaled.extent(2);
    const Index channels = upscaled.extent(3);
    const auto masks = static_cast<Index>(hypernetworks_.size());
    const auto kernels = workspace.tensor(Extents<3>{batch, masks, channels});
    for (Index i = 0; i < masks; ++i) {
      gather_token(workspace, tokens, 1 + i, [&](TensorView<float, 2> token) {
        const auto kernel = workspace.tensor(Extents<2>{batch, channels});
        hypernetworks_[static_cast<std::size_t>(i)](workspace, token, kernel);
        workspace.backend().copy(kernel.with_unit_axis(1).with_unit_axis(0),
                                 kernels.slice(1, i, 1).with_unit_axis(0));
      });
    }
    workspace.backend().batched_gemm(
        kernels, upscaled.reshaped(Extents<3>{batch, pixels, channels}).permuted({0, 2, 1}), 1.0F,
        logits.reshaped(Extents<3>{batch, masks, pixels}));
  }

  /// [B, h, w, C] to [B, 4h, 4w, C / 8] (`output_upscaling`); the result outlives the call.
  TensorView<const float, 4> upscale(nn::Workspace<B>& workspace,
                                     TensorView<const float, 4> image) const {
    const auto twice_extents = upscale1_.output(image.extents());
    const auto out = workspace.tensor(upscale2_.output(twice_extents));
    const auto frame = workspace.frame();
    const auto twice = workspace.tensor(twice_extents);
    upscale1_(workspace, image, twice);
    const auto rows = twice.reshaped(Extents<2>{twice.size() / twice.extent(3), twice.extent(3)});
    upscale_norm_(workspace, rows, rows, Activation::gelu);
    upscale2_(workspace, twice, out, Activation::gelu);
    return out;
  }

  /// Calls `use` with token `index` of every item, [B, C] and contiguous.
  template <class Use>
  void gather_token(nn::Workspace<B>& workspace, TensorView<const float, 3> tokens, Index index,
                    const Use& use) const {
    const auto frame = workspace.frame();
    const auto token = workspace.tensor(Extents<2>{tokens.extent(0), tokens.extent(2)});
    workspace.backend().copy(tokens.slice(1, index, 1).with_unit_axis(0),
                             token.with_unit_axis(1).with_unit_axis(0));
    use(token);
  }

  TwoWayTransformer<B> transformer_;
  Tensor<float, 2> iou_token_;
  Tensor<float, 2> mask_tokens_;
  nn::ConvTranspose2d<B> upscale1_;
  nn::LayerNorm<B> upscale_norm_;
  nn::ConvTranspose2d<B> upscale2_;
  std::vector<nn::ReluStack<B>> hypernetworks_;
  nn::ReluStack<B> iou_head_;
  Index width_;
};

}  // namespace promiseg

// The whole network on one backend: the encoder, and the decoder with its prompts. Works in the
// model's frame, host tensors in and out; `Predictor` adds images and pixels.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <variant>

#include "promiseg/sam/prompted_decoder.hpp"
#include "promiseg/sam/sam_weights.hpp"

namespace promiseg {

/// What the encoder makes of an image.
struct EncodedImage {
  Tensor<float, 3> embedding;              ///< [grid, grid, C]
  std::map<Index, Tensor<float, 3>> taps;  ///< [h, w, C] by number
};

/// A frozen SAM, prepared for a backend. One object serves one thread at a time.
template <Backend B>
class SamModel {
 public:
  /// Copies (and packs) the weights; the views are not needed afterwards. `after_block` is called
  /// after every block of a ViT, when all that was read so far has been copied. The backend must
  /// outlive the model.
  SamModel(
      B& backend, const ModelConfig& config, const SamWeights& weights,
      const std::function<void()>& after_block = [] {})
      : config_(config),
        workspace_(backend),
        image_encoder_(make_encoder(backend, config, weights, after_block)),
        decoder_(backend, config, weights.prompt_encoder, weights.mask_decoder) {}

  const ModelConfig& config() const { return config_; }
  const PromptEncoder<B>& prompt_encoder() const { return decoder_.prompt_encoder(); }
  PromptedDecoder<B>& decoder() { return decoder_; }
  B& backend() { return workspace_.backend(); }

  /// input [S, S, 3], normalised and padded. `taps` are the intermediate features to keep as well:
  /// ViT blocks counted from 1, TinyViT stages from 0. Throws `shape_mismatch`.
  EncodedImage encode(TensorView<const float, 3> input, std::span<const Index> taps,
                      const EncoderObserver& observe) {
    const Index size = config_.image_size;
    require_shape(input, Extents<3>{size, size, 3}, "encoder input");
    const auto frame = workspace_.frame();
    const auto image = nn::upload(workspace_, input);
    const auto embedding =
        workspace_.tensor(Extents<3>{config_.grid(), config_.grid(), config_.prompt_embed_dim});
    EncodedImage encoded;
    const EncoderObserver keep_taps = [&](const EncoderStage& stage) {
      const std::optional<Index> tap = stage.tap();
      if (tap.has_value() && std::find(taps.begin(), taps.end(), *tap) != taps.end()) {
        encoded.taps[*tap] = nn::download(workspace_, stage.features);
      }
      observe(stage);
    };
    std::visit(
        [&](const auto& encoder) {
          encoder(workspace_, image.with_unit_axis(0), embedding, keep_taps);
        },
        image_encoder_);
    encoded.embedding = nn::download<3>(workspace_, embedding);
    return encoded;
  }

  /// See `PromptedDecoder`.
  EncodedPrompts encode_prompts(std::span<const Prompt> prompts) {
    return decoder_.encode_prompts(prompts);
  }
  DecodedMasks decode(TensorView<const float, 3> embedding, std::span<const Prompt> prompts,
                      TensorView<const float, 2> token_shift = {}) {
    return decoder_.decode(embedding, prompts, token_shift);
  }

 private:
  using ImageEncoder = std::variant<VitEncoder<B>, TinyVitEncoder<B>>;

  static ImageEncoder make_encoder(B& backend, const ModelConfig& config, const SamWeights& weights,
                                   const std::function<void()>& after_block) {
    if (const auto* vit = std::get_if<VitWeights>(&weights.image_encoder)) {
      return VitEncoder<B>(backend, config, *vit, after_block);
    }
    return TinyVitEncoder<B>(backend, config, std::get<TinyVitWeights>(weights.image_encoder));
  }

  ModelConfig config_;
  nn::Workspace<B> workspace_;
  ImageEncoder image_encoder_;
  PromptedDecoder<B> decoder_;
};

}  // namespace promiseg

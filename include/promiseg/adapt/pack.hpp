// A pack at work: it predicts prompts, shifts the decoder's tokens, and cleans the masks.
#pragma once

#include <cmath>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "promiseg/adapt/pack_file.hpp"
#include "promiseg/sam/predictor.hpp"

namespace promiseg {

/// What APM predicts for an image, in the model's frame.
struct PredictedPoints {
  Tensor<float, 2> coordinates;  ///< [points, 2], x and y in pixels of the frame
  Tensor<float, 3> fused;        ///< [h, w, 256], the fused features; the ResNet variant only
};

/// APM and IPS, prepared for a backend. Works in the model's frame, host tensors in and out.
template <Backend B>
class Adapter {
 public:
  /// Copies the weights. The backend must outlive the adapter.
  Adapter(B& backend, const PackConfig& config, const ModelConfig& model,
          const PackWeights& weights)
      : config_(config),
        grid_(model.grid()),
        mask_tokens_(model.mask_tokens()),
        workspace_(backend) {
    if (const auto* resnet = std::get_if<ApmResnetWeights>(&weights.apm)) {
      apm_.template emplace<ApmResnet<B>>(backend, *resnet);
    } else if (const auto* cross = std::get_if<ApmCrossWeights>(&weights.apm)) {
      apm_.template emplace<ApmCross<B>>(backend, *cross, grid_);
    }
    if (weights.ips.has_value()) ips_.emplace(backend, *weights.ips);
  }

  const PackConfig& config() const { return config_; }

  /// The points for an image, from its taps [h, w, C] by number. Only for a pack with APM. Throws
  /// `not_found` if a tap is missing, `shape_mismatch` if one has another shape.
  PredictedPoints predict_points(const std::map<Index, Tensor<float, 3>>& taps) {
    const auto frame = workspace_.frame();
    std::vector<TensorView<float, 4>> features;
    for (Index number : config_.tap_blocks) {
      const auto tap = taps.find(number);
      require(tap != taps.end(), ErrorCode::not_found, "the pack needs the encoder's features ",
              number, " (tap.", number,
              "), which the embedding does not hold: encode the image again for this pack");
      require(tap->second.extent(0) == grid_ && tap->second.extent(1) == grid_,
              ErrorCode::shape_mismatch, "tap.", number, ": expected ", grid_, " x ", grid_,
              " positions, got shape ", shape_text(tap->second.extents()));
      features.push_back(nn::upload(workspace_, tap->second.view()).with_unit_axis(0));
    }
    PredictedPoints predicted;
    const auto logits = workspace_.tensor(Extents<2>{1, 2 * config_.point_num});
    if (auto* resnet = std::get_if<ApmResnet<B>>(&apm_)) {
      const auto fused = workspace_.tensor(Extents<4>{1, grid_, grid_, kFusedChannels});
      (*resnet)(workspace_, features, fused, logits);
      predicted.fused = nn::download<3>(workspace_, fused.select(0, 0));
    } else {
      std::get<ApmCross<B>>(apm_)(workspace_, features, logits);
    }
    predicted.coordinates =
        nn::download<2>(workspace_, logits.reshaped(Extents<2>{config_.point_num, 2}));
    for (float& value : predicted.coordinates.elements()) {
      value = static_cast<float>(config_.point_scale) / (1.0F + std::exp(-value));
    }
    return predicted;
  }

  /// The increment [mask tokens, C] of the mask tokens for an embedding [h, w, C]; empty for a pack
  /// without IPS.
  Tensor<float, 2> token_shift(const Tensor<float, 3>& embedding) {
    if (!ips_.has_value()) return {};
    const auto frame = workspace_.frame();
    const auto features = nn::upload(workspace_, embedding.view());
    const auto increment = workspace_.tensor(Extents<3>{1, mask_tokens_, embedding.extent(2)});
    (*ips_)(workspace_, features.with_unit_axis(0), increment);
    return nn::download<2>(workspace_, increment.select(0, 0));
  }

 private:
  PackConfig config_;
  Index grid_;
  Index mask_tokens_;
  nn::Workspace<B> workspace_;
  std::variant<std::monostate, ApmResnet<B>, ApmCross<B>> apm_;
  std::optional<Ips<B>> ips_;
};

/// A pack loaded for a predictor. Any number of packs share one predictor and one encoding; a pack
/// goes away with its object.
template <Backend B>
class Pack {
 public:
  /// Reads and prepares the pack; the file is not needed afterwards, the predictor is. Throws
  /// `invalid_argument`, naming both models, if the pack belongs to another model, and
  /// `bad_weights` or `shape_mismatch`, naming the tensor, if the file does not hold its config's
  /// tensors.
  Pack(Predictor<B>& predictor, const PackFile& file) : predictor_(&predictor) {
    require_own_model(predictor, file);
    FileWeights weights(file.file());
    const PackWeights views = pack_weights(weights, file.config(), predictor.config());
    weights.require_all_used();
    B& backend = predictor.backend();
    adapter_.emplace(backend, file.config(), predictor.config(), views);
    if (views.decoder.has_value()) {
      decoder_.emplace(backend, predictor.config(), views.decoder->prompts, views.decoder->masks);
    }
  }

  const PackConfig& config() const { return adapter_->config(); }
  Adapter<B>& adapter() { return *adapter_; }
  /// The pack's own decoder, or the model's.
  PromptedDecoder<B>& decoder() {
    return decoder_.has_value() ? *decoder_ : predictor_->model().decoder();
  }

  /// The features that `Predictor::encode` must keep for this pack.
  std::vector<Index> taps() const {
    return config().apm == ApmKind::none ? std::vector<Index>{} : config().tap_blocks;
  }

  /// The pack's own prompt for an image, in pixels of the original: what APM predicts, or the whole
  /// frame. An ordinary value: look at it, change it, give it to `predict`. Empty if the pack has
  /// none. Throws `not_found` if the embedding lacks the taps.
  Prompts prompts(const ImageEmbedding& embedding) {
    predictor_->require_own(embedding);
    PredictedPoints predicted;
    if (config().apm != ApmKind::none) predicted = adapter_->predict_points(embedding.taps);
    Prompts prompts = frame_prompts(predicted);
    for (Prompt& prompt : prompts) prompt = from_frame(prompt, embedding.geometry);
    return prompts;
  }

  /// The same in the model's frame, from what APM predicted (nothing for a pack without APM).
  Prompts frame_prompts(const PredictedPoints& predicted) const {
    Prompts prompts;
    if (config().apm != ApmKind::none) {
      Prompt& prompt = prompts.emplace_back();
      for (Index i = 0; i < config().point_num; ++i) {
        const Index label = config().point_value[static_cast<std::size_t>(i)];
        prompt.points.push_back({predicted.coordinates.view()(i, 0),
                                 predicted.coordinates.view()(i, 1), static_cast<int>(label)});
      }
    } else if (config().own_prompt == OwnPrompt::image) {
      const auto last = static_cast<float>(predictor_->config().image_size - 1);
      prompts.emplace_back().box = BoxPrompt{0, 0, last, last};
    }
    return prompts;
  }

  /// Decodes prompts with the pack: IPS on, the pack's mask token and cleaning. `cleaning`, if
  /// given, takes the place of the pack's. See `Predictor::predict`.
  std::vector<Prediction> predict(const ImageEmbedding& embedding, const Prompts& prompts,
                                  const std::optional<MaskCleaning>& cleaning = std::nullopt) {
    predictor_->require_own(embedding);
    const Tensor<float, 2> shift = adapter_->token_shift(embedding.features);
    PredictOptions options;
    options.mask_token = config().mask_token;
    options.cleaning = cleaning.value_or(config().cleaning);
    options.allow_padding = true;
    if (!shift.empty()) options.token_shift = shift.view();
    return predictor_->predict(embedding, prompts, options, decoder());
  }

 private:
  static void require_own_model(const Predictor<B>& predictor, const PackFile& file) {
    require(file.provenance().model_sha256 == predictor.model_id(), ErrorCode::invalid_argument,
            file.name(), ": the pack belongs to the model ", file.provenance().model_name, " ",
            file.provenance().model_sha256, ", the loaded model is ", predictor.model_name(), " ",
            predictor.model_id());
    try {
      validate(file.config(), predictor.config());
    } catch (const Error& error) {
      fail(error.code(), file.name(), ": ", error.what());
    }
  }

  Predictor<B>* predictor_;
  std::optional<Adapter<B>> adapter_;
  std::optional<PromptedDecoder<B>> decoder_;
};

}  // namespace promiseg

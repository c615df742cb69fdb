// APM, IPS and SAM's decoder over a tape: one pass forwards and backwards for a batch of images
// whose encoder features are known. Where the encoder trains, it is on the tape as well.
#pragma once

#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "promiseg/adapt/pack_file.hpp"
#include "promiseg/nn/transfer.hpp"
#include "promiseg/sam/mask_decoder.hpp"
#include "promiseg/sam/prompt_encoder.hpp"
#include "promiseg/sam/tiny_vit_encoder.hpp"
#include "promiseg/sam/vit_encoder.hpp"
#include "promiseg/train/losses.hpp"
#include "promiseg/train/tape.hpp"

namespace promiseg::train {

/// The features that a pack reads of the encoder, in its order; a number may come twice. They live
/// as long as the config.
inline std::span<const Index> tap_numbers(const PackConfig& pack) {
  if (pack.apm == ApmKind::none) return {};
  return pack.tap_blocks;
}

/// A batch of B images in the model's frame: as the decoder and the modules see them, or, where the
/// encoder trains, as it does.
struct TrainingBatch {
  TensorView<const float, 4> embeddings;         ///< [B, grid, grid, C]
  std::vector<TensorView<const float, 4>> taps;  ///< [B, grid, grid, C_i], in the pack's order
  /// In place of embeddings and taps: [S, S, 3], normalised and padded, one an image.
  std::vector<TensorView<const float, 3>> inputs;
  Prompts prompts;                     ///< one an image; empty where APM predicts them
  TensorView<const float, 3> targets;  ///< [B, 4 * grid, 4 * grid], in [0, 1]
  /// Around the true objects, for the auxiliary loss, which leaves out images without one.
  std::vector<std::optional<BoxPrompt>> boxes;
  TensorView<const float, 3> shifts;  ///< [B, points, 2], added to what APM predicts; may be empty
};

/// What a pass computed.
struct PassResult {
  double loss = 0;  ///< the sum: of the masks, and the weighted one of the corners
  MaskLoss mask;
  double corners = 0;
  Tensor<float, 3> logits;     ///< [B, 4 * grid, 4 * grid], of the pack's mask token
  Tensor<float, 3> points;     ///< [B, points, 2], what APM predicted; empty without
  Tensor<float, 3> increment;  ///< [B, mask tokens, C], of IPS; empty without
};

/// The network in training, after the encoder or with it. Which of its weights train is for the
/// parameters to say; batch norms of the pack's modules measure the batch.
template <TrainingBackend B>
class TrainingModel {
 public:
  /// All must outlive the model. The encoder is part of it if `parameters` hold weights of it, that
  /// is, if they train and have been asked for before (`sam_weights` asks for all).
  TrainingModel(B& backend, const ModelConfig& model, const PackConfig& pack,
                Parameters& parameters)
      : model_(model),
        pack_(pack),
        parameters_(&parameters),
        tape_(backend, parameters),
        workspace_(tape_),
        backend_(&backend) {
    refresh();
  }

  /// Makes the layers anew, after parameters have changed.
  void refresh() {
    tape_.forget_weights();
    if (trains("image_encoder.")) make_encoder();
    const PackWeights weights = pack_weights(*parameters_, pack_, model_);
    if (const auto* resnet = std::get_if<ApmResnetWeights>(&weights.apm)) {
      apm_.template emplace<ApmResnet<Tape<B>>>(tape_, *resnet);
    } else if (const auto* cross = std::get_if<ApmCrossWeights>(&weights.apm)) {
      apm_.template emplace<ApmCross<Tape<B>>>(tape_, *cross, model_.grid());
    }
    if (weights.ips.has_value()) ips_.emplace(tape_, *weights.ips);
    if (decoder_.has_value() && !trains("mask_decoder.") && !trains("prompt_encoder.")) return;
    prompt_weights_ = prompt_encoder_weights(*parameters_, model_);
    const MaskDecoderWeights decoder = mask_decoder_weights(*parameters_, model_);
    iou_token_ = decoder.iou_token;
    mask_tokens_ = decoder.mask_tokens;
    prompt_encoder_.emplace(tape_, model_, prompt_weights_);
    decoder_.emplace(tape_, model_, decoder, prompt_encoder_->dense_pe());
  }

  /// Runs the batch forwards and backwards: the parameters' gradients grow by those of the loss.
  /// Throws `shape_mismatch` or `invalid_argument` for a batch that does not fit the pack.
  PassResult pass(const TrainingBatch& batch, const LossConfig& loss) {
    tape_.reset();
    const auto frame = workspace_.frame();
    const Index items = batch.targets.extent(0);
    const Index grid = model_.grid();
    require_shape(batch.targets, Extents<3>{items, 4 * grid, 4 * grid}, "training batch: targets");
    PassResult result;
    const Features features = has_encoder() ? encode(batch) : upload(batch);
    const Prompted prompted = make_prompts(batch, features, loss, result);
    const auto increment = shift_tokens(features.embedding, result);
    const auto tokens = make_tokens(prompted, increment, result);

    const auto keys = workspace_.tensor(features.embedding.extents());
    tape_.add(features.embedding, prompt_encoder_->no_mask().broadcast_to(keys.extents()), keys);
    const Index masks = model_.mask_tokens();
    const auto logits = workspace_.tensor(Extents<4>{items, masks, 4 * grid, 4 * grid});
    const auto iou = workspace_.tensor(Extents<2>{items, masks});
    (*decoder_)(workspace_, keys, keys, tokens, logits, iou);

    const auto chosen = logits.select(1, pack_.mask_token);
    result.logits = Tensor<float, 3>(chosen);
    result.mask = mask_loss(loss.kind, result.logits.view(), batch.targets);
    result.loss = result.mask.value + loss.corner_weight * result.corners;
    backend_->copy(std::as_const(result.mask.gradient).view().with_unit_axis(0),
                   tape_.gradient(chosen).with_unit_axis(0));
    tape_.run_backwards();
    return result;
  }

 private:
  /// What the encoder makes of a batch, in the tape's memory.
  struct Features {
    TensorView<float, 4> embedding;          ///< [B, grid, grid, C]
    std::vector<TensorView<float, 4>> taps;  ///< [B, grid, grid, C_i], in the pack's order
  };

  /// The prompts of a batch, and where APM's logits lie.
  struct Prompted {
    Prompts prompts;
    TensorView<float, 2> logits;       ///< [B, 2 * points]; empty for given prompts
    Tensor<float, 3> points;           ///< [B, points, 2], as predicted
    Tensor<float, 3> corner_gradient;  ///< [B, points, 2], of the auxiliary loss
  };

  bool trains(std::string_view prefix) const {
    const auto& all = parameters_->all();
    const auto next = all.lower_bound(std::string(prefix));
    return next != all.end() && next->first.starts_with(prefix);
  }

  bool has_encoder() const { return !std::holds_alternative<std::monostate>(encoder_); }

  void make_encoder() {
    if (model_.encoder == EncoderKind::vit) {
      encoder_.template emplace<VitEncoder<Tape<B>>>(tape_, model_,
                                                     vit_weights(*parameters_, model_));
    } else {
      encoder_.template emplace<TinyVitEncoder<Tape<B>>>(tape_, model_,
                                                         tiny_vit_weights(*parameters_, model_));
    }
  }

  /// The features that a batch brings along.
  Features upload(const TrainingBatch& batch) {
    const Index grid = model_.grid();
    require_shape(batch.embeddings,
                  Extents<4>{batch.targets.extent(0), grid, grid, model_.prompt_embed_dim},
                  "training batch: embeddings");
    Features features;
    features.embedding = nn::upload(workspace_, batch.embeddings);
    for (const auto& tap : batch.taps) features.taps.push_back(nn::upload(workspace_, tap));
    return features;
  }

  /// The features of a batch's inputs, on the tape. The encoder works on one image at a time and in
  /// the same memory again, so what lives on is taken before its frames are opened.
  Features encode(const TrainingBatch& batch) {
    const Index items = batch.targets.extent(0);
    const Index grid = model_.grid();
    require(std::ssize(batch.inputs) == items, ErrorCode::invalid_argument,
            "training batch: ", items, " images need as many inputs where the encoder trains, got ",
            batch.inputs.size());
    Features features;
    features.embedding = workspace_.tensor(Extents<4>{items, grid, grid, model_.prompt_embed_dim});
    for (Index tap : tap_numbers(pack_)) {
      features.taps.push_back(
          workspace_.tensor(Extents<4>{items, grid, grid, tap_channels(model_, tap)}));
    }
    for (Index item = 0; item < items; ++item) {
      encode_item(batch.inputs[static_cast<std::size_t>(item)], item, features);
    }
    return features;
  }

  void encode_item(const TensorView<const float, 3>& input, Index item, const Features& to) {
    const Index size = model_.image_size;
    require_shape(input, Extents<3>{size, size, 3}, "training batch: input");
    const auto frame = workspace_.frame();
    const auto image = nn::upload(workspace_, input).with_unit_axis(0);
    const auto embedding = to.embedding.select(0, item);
    const EncoderObserver keep_taps = [&](const EncoderStage& stage) {
      for (std::size_t i = 0; i < to.taps.size(); ++i) {
        if (stage.tap() != pack_.tap_blocks[i]) continue;
        tape_.copy(stage.features.with_unit_axis(0), to.taps[i].slice(0, item, 1));
      }
    };
    if (const auto* vit = std::get_if<VitEncoder<Tape<B>>>(&encoder_)) {
      (*vit)(workspace_, image, embedding, keep_taps);
    } else {
      std::get<TinyVitEncoder<Tape<B>>>(encoder_)(workspace_, image, embedding, keep_taps);
    }
  }

  Prompted make_prompts(const TrainingBatch& batch, const Features& features,
                        const LossConfig& loss, PassResult& result) {
    Prompted prompted;
    if (pack_.apm == ApmKind::none) {
      prompted.prompts = batch.prompts;
      return prompted;
    }
    prompted.logits = predict_logits(features);
    const Index items = prompted.logits.extent(0);
    const Extents<3> extents{items, pack_.point_num, 2};
    result.points = Tensor<float, 3>(TensorView<const float, 3>(prompted.logits.reshaped(extents)));
    for (float& value : result.points.elements()) {
      value = static_cast<float>(pack_.point_scale) / (1.0F + std::exp(-value));
    }
    prompted.points = result.points;
    prompted.corner_gradient = Tensor<float, 3>(extents);
    for (Index item = 0; item < items; ++item) {
      Prompt& prompt = prompted.prompts.emplace_back();
      const auto points = result.points.view().select(0, item);
      for (Index i = 0; i < pack_.point_num; ++i) {
        prompt.points.push_back({points(i, 0), points(i, 1), label(i)});
        if (batch.shifts.data() == nullptr) continue;
        prompt.points.back().x += batch.shifts(item, i, 0);
        prompt.points.back().y += batch.shifts(item, i, 1);
      }
      const auto index = static_cast<std::size_t>(item);
      if (loss.corner_weight <= 0 || !batch.boxes.at(index).has_value()) continue;
      const auto share = 1 / static_cast<double>(items);
      result.corners +=
          share * corner_loss(pack_.point_value, points, *batch.boxes.at(index),
                              static_cast<double>(model_.image_size), share * loss.corner_weight,
                              prompted.corner_gradient.view().select(0, item));
    }
    return prompted;
  }

  int label(Index point) const {
    return static_cast<int>(pack_.point_value[static_cast<std::size_t>(point)]);
  }

  TensorView<float, 2> predict_logits(const Features& features) {
    const Index items = features.embedding.extent(0);
    const auto logits = workspace_.tensor(Extents<2>{items, 2 * pack_.point_num});
    if (auto* resnet = std::get_if<ApmResnet<Tape<B>>>(&apm_)) {
      const auto fused =
          workspace_.tensor(Extents<4>{items, model_.grid(), model_.grid(), kFusedChannels});
      (*resnet)(workspace_, features.taps, fused, logits);
    } else {
      std::get<ApmCross<Tape<B>>>(apm_)(workspace_, features.taps, logits);
    }
    return logits;
  }

  TensorView<float, 3> shift_tokens(const TensorView<float, 4>& embedding, PassResult& result) {
    if (!ips_.has_value()) return {};
    const auto increment = workspace_.tensor(
        Extents<3>{embedding.extent(0), model_.mask_tokens(), model_.prompt_embed_dim});
    (*ips_)(workspace_, embedding, increment);
    result.increment = Tensor<float, 3>(TensorView<const float, 3>(increment));
    return increment;
  }

  /// The decoder's tokens: its own, shifted, and those of the prompts. They are made on the host,
  /// and so is their gradient.
  TensorView<float, 3> make_tokens(const Prompted& prompted, TensorView<float, 3> increment,
                                   const PassResult& result) {
    const Index own = decoder_->output_tokens();
    const Index items = result.increment.empty() ? static_cast<Index>(prompted.prompts.size())
                                                 : result.increment.extent(0);
    require(static_cast<Index>(prompted.prompts.size()) == items, ErrorCode::invalid_argument,
            "training batch: ", items, " images need as many prompts, got ",
            prompted.prompts.size());
    const Index count = token_count(prompted.prompts.front());
    Tensor<float, 3> host({items, own + count, model_.prompt_embed_dim});
    for (Index item = 0; item < items; ++item) {
      const Prompt& prompt = prompted.prompts[static_cast<std::size_t>(item)];
      require(token_count(prompt) == count, ErrorCode::invalid_argument,
              "training batch: all prompts need the same number of points and boxes");
      const auto row = host.view().select(0, item);
      const auto shift = result.increment.empty() ? TensorView<const float, 2>{}
                                                  : result.increment.view().select(0, item);
      decoder_->write_output_tokens(shift, row.slice(0, 0, own));
      prompt_encoder_->encode_sparse(prompt, row.slice(0, own, count));
    }
    const auto tokens = nn::upload(workspace_, std::as_const(host).view());
    tape_.watch(tokens);
    tape_.record([this, tokens, prompted, increment] {
      const auto gradient = TensorView<const float, 3>(tape_.gradient(tokens));
      for (Index item = 0; item < gradient.extent(0); ++item) {
        spread_own(gradient.select(0, item), increment, item);
        spread_prompt(gradient.select(0, item), prompted, item);
      }
    });
    return tokens;
  }

  /// Gradients of the decoder's own tokens, [tokens, C] of one item.
  void spread_own(const TensorView<const float, 2>& gradient, const TensorView<float, 3>& increment,
                  Index item) {
    const Index masks = model_.mask_tokens();
    grow(parameters_->gradient(iou_token_), gradient.slice(0, 0, 1));
    grow(parameters_->gradient(mask_tokens_), gradient.slice(0, 1, masks));
    if (increment.data() == nullptr) return;
    grow(tape_.gradient(increment).select(0, item), gradient.slice(0, 1, masks));
  }

  /// Gradients of the tokens of one item's prompt, in the order of `encode_sparse`.
  void spread_prompt(const TensorView<const float, 2>& gradient, const Prompted& prompted,
                     Index item) {
    const Prompt& prompt = prompted.prompts[static_cast<std::size_t>(item)];
    Index row = decoder_->output_tokens();
    for (std::size_t i = 0; i < prompt.points.size(); ++i, ++row) {
      const PointPrompt& point = prompt.points[i];
      grow(embedding_gradient(point.label), gradient.slice(0, row, 1));
      if (prompted.logits.data() != nullptr) {
        spread_point(gradient.select(0, row), point, static_cast<Index>(i), prompted, item);
      }
    }
    if (prompt.box.has_value()) {
      for (const int corner : {2, 3}) {
        grow(embedding_gradient(corner), gradient.slice(0, row++, 1));
      }
    }
    if (needs_padding_point(prompt)) {
      grow(parameters_->gradient(prompt_weights_.not_a_point), gradient.slice(0, row, 1));
    }
  }

  TensorView<float, 2> embedding_gradient(int label) {
    if (label < 0) return parameters_->gradient(prompt_weights_.not_a_point);
    return parameters_->gradient(prompt_weights_.point_embeddings[static_cast<std::size_t>(label)]);
  }

  /// From the token of a predicted point to APM's logits: position = scale * sigmoid(logit).
  void spread_point(const TensorView<const float, 1>& gradient, const PointPrompt& point,
                    Index index, const Prompted& prompted, Index item) {
    const std::array<float, 2> by_token = prompt_encoder_->coordinate_gradient(point, gradient);
    const auto to = tape_.gradient(prompted.logits);
    const auto scale = static_cast<float>(pack_.point_scale);
    for (const std::size_t axis : {std::size_t{0}, std::size_t{1}}) {
      const auto column = static_cast<Index>(axis);
      const float by_corner = prompted.corner_gradient.view()(item, index, column);
      const float position = prompted.points.view()(item, index, column);
      const float slope = position * (1.0F - position / scale);
      to(item, 2 * index + column) += (by_token[axis] + by_corner) * slope;
    }
  }

  /// to += from; nothing where `to` is not wanted.
  static void grow(const TensorView<float, 2>& to, const TensorView<const float, 2>& from) {
    if (to.data() == nullptr) return;
    for (Index i = 0; i < from.extent(0); ++i) {
      for (Index c = 0; c < from.extent(1); ++c) to(i, c) += from(i, c);
    }
  }

  ModelConfig model_;
  PackConfig pack_;
  Parameters* parameters_;
  Tape<B> tape_;
  nn::Workspace<Tape<B>> workspace_;
  B* backend_;
  std::variant<std::monostate, VitEncoder<Tape<B>>, TinyVitEncoder<Tape<B>>> encoder_;
  std::variant<std::monostate, ApmResnet<Tape<B>>, ApmCross<Tape<B>>> apm_;
  std::optional<Ips<Tape<B>>> ips_;
  std::optional<PromptEncoder<Tape<B>>> prompt_encoder_;
  std::optional<MaskDecoder<Tape<B>>> decoder_;
  PromptEncoderWeights prompt_weights_;
  TensorView<const float, 2> iou_token_;
  TensorView<const float, 2> mask_tokens_;
};

}  // namespace promiseg::train

// Images and prompts in, masks out: the model with everything around it.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "promiseg/sam/embedding.hpp"
#include "promiseg/sam/mask_cleaning.hpp"
#include "promiseg/sam/sam_model.hpp"

namespace promiseg {

/// Prompts that a predictor decodes in one batch, which bounds its memory.
inline constexpr std::size_t kMaxDecodedAtOnce = 16;

struct PredictOptions {
  /// Several masks for an ambiguous prompt (a point may mean a part or the whole), not one.
  bool multimask = false;
  /// The mask token whose mask is the answer where `multimask` is off.
  Index mask_token = 0;
  MaskCleaning cleaning = {};
  /// [mask tokens, C], added to the decoder's mask tokens; empty for the frozen model.
  TensorView<const float, 2> token_shift = {};
  /// Points may lie in the padding of the model's frame, as predicted ones do.
  bool allow_padding = false;
};

/// The masks of one object, at the size of the original image.
struct Prediction {
  std::vector<Mask> masks;          ///< one, or the alternatives of `multimask`
  std::vector<float> scores;        ///< the model's own estimate of each mask's IoU
  Tensor<float, 3> low_res_logits;  ///< [masks, 4 * grid, 4 * grid] in the model's frame

  /// The mask with the highest score.
  std::size_t best() const {
    return static_cast<std::size_t>(std::max_element(scores.begin(), scores.end()) -
                                    scores.begin());
  }
};

/// A model on a backend. Encode an image once, then decode as many prompts as you like. One object
/// serves one thread at a time.
template <Backend B>
class Predictor {
 public:
  /// Takes the backend over and prepares the weights for it. The file is not needed afterwards.
  /// Throws `bad_weights` or `shape_mismatch`, naming the tensor, if the file does not hold exactly
  /// the tensors of its config.
  Predictor(B backend, const ModelFile& file)
      : backend_(std::make_unique<B>(std::move(backend))),
        model_(load(*backend_, file)),
        model_id_(file.provenance().weights_sha256),
        model_name_(describe_model(file.config(), file.provenance())) {}

  // Packs refer to their predictor: it stays where it is.
  Predictor(Predictor&&) = delete;
  Predictor& operator=(Predictor&&) = delete;

  const ModelConfig& config() const { return model_.config(); }
  /// The hash of the model's weights, by which embeddings and packs know it.
  const std::string& model_id() const { return model_id_; }
  /// What messages call the model.
  const std::string& model_name() const { return model_name_; }
  B& backend() { return *backend_; }
  SamModel<B>& model() { return model_; }

  /// Encodes an image of 8-bit grey or RGB pixels. `taps` are intermediate features to keep, which
  /// packs name; `observe` follows the encoder on its way. Throws `shape_mismatch` for anything but
  /// an image.
  ImageEmbedding encode(ImageView image, std::span<const Index> taps = {},
                        const EncoderObserver& observe = ignore_stages) {
    const Image resized = resize_for_model(image, config());
    const Tensor<float, 3> input = normalise_for_model(resized, config());
    EncodedImage encoded = model_.encode(input, taps, observe);
    return {std::move(encoded.embedding), std::move(encoded.taps),
            frame_geometry({image.extent(0), image.extent(1)}, config()), model_id_};
  }

  /// Decodes the prompts, one object each, in pixels of the original image. The order of the
  /// results is that of the prompts. Throws `invalid_argument` for an embedding of another model,
  /// an empty prompt, or one outside the image.
  std::vector<Prediction> predict(const ImageEmbedding& embedding, const Prompts& prompts,
                                  const PredictOptions& options = {}) {
    return predict(embedding, prompts, options, model_.decoder());
  }

  /// The same with another decoder of the model's shape, which a pack may bring along.
  std::vector<Prediction> predict(const ImageEmbedding& embedding, const Prompts& prompts,
                                  const PredictOptions& options, PromptedDecoder<B>& decoder) {
    require_own(embedding);
    Prompts scaled;
    for (const Prompt& prompt : prompts) {
      require(!prompt.points.empty() || prompt.box.has_value() || !prompt.mask_logits.empty(),
              ErrorCode::invalid_argument, "a prompt needs at least one point, a box or a mask");
      require_inside(prompt, embedding.geometry, options.allow_padding);
      scaled.push_back(to_frame(prompt, embedding.geometry));
    }
    require(options.mask_token >= 0 && options.mask_token < config().mask_tokens(),
            ErrorCode::invalid_argument, "mask_token ", options.mask_token,
            ": the model has tokens 0 to ", config().mask_tokens() - 1);
    std::vector<Prediction> predictions;
    for (std::size_t begin = 0; begin < scaled.size();) {
      const std::size_t end = batch_end(scaled, begin);
      const DecodedMasks decoded =
          decoder.decode(embedding.features.view(), std::span(scaled).subspan(begin, end - begin),
                         options.token_shift);
      for (std::size_t i = begin; i < end; ++i) {
        predictions.push_back(
            finish(decoded, static_cast<Index>(i - begin), embedding.geometry, options));
      }
      begin = end;
    }
    return predictions;
  }

  /// Throws `invalid_argument`, naming both, for an embedding that another model made.
  void require_own(const ImageEmbedding& embedding) const {
    require(embedding.model == model_id_, ErrorCode::invalid_argument,
            "the embedding was made by the model ", embedding.model, ", the loaded model is ",
            model_name_, " ", model_id_);
  }

 private:
  static void ignore_stages(const EncoderStage& /*stage*/) {}

  static SamModel<B> load(B& backend, const ModelFile& file) {
    FileWeights weights(file.file());
    const SamWeights views = sam_weights(weights, file.config());
    weights.require_all_used();
    // What is packed need not lie in memory twice.
    return SamModel<B>(backend, file.config(), views, [&file] { file.file().drop_pages(); });
  }

  /// Neighbours of one structure are decoded together, a bounded number at a time.
  static std::size_t batch_end(const Prompts& prompts, std::size_t begin) {
    std::size_t end = begin + 1;
    while (end < prompts.size() && end - begin < kMaxDecodedAtOnce &&
           same_structure(prompts[end], prompts[begin])) {
      ++end;
    }
    return end;
  }

  Prediction finish(const DecodedMasks& decoded, Index item, const FrameGeometry& geometry,
                    const PredictOptions& options) const {
    const Index first = options.multimask ? 1 : options.mask_token;
    const double threshold =
        config().mask_threshold + double{logit_threshold(options.cleaning.threshold)};
    const Index count = options.multimask ? config().num_multimask_outputs : 1;
    Prediction prediction;
    prediction.low_res_logits =
        Tensor<float, 3>(decoded.logits.view().select(0, item).slice(0, first, count));
    for (Index i = 0; i < count; ++i) {
      const Tensor<float, 2> logits =
          to_original(std::as_const(prediction.low_res_logits).view().select(0, i), geometry);
      prediction.masks.push_back(clean(threshold_mask(logits, threshold), options.cleaning));
      prediction.scores.push_back(decoded.iou.view()(item, first + i));
    }
    return prediction;
  }

  std::unique_ptr<B> backend_;  // at a fixed address: the model refers to it
  SamModel<B> model_;
  std::string model_id_;
  std::string model_name_;
};

}  // namespace promiseg

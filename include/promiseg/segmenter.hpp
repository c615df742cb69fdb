// The type-erased facade, for programs that choose the backend at run time.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "promiseg/adapt/pack.hpp"

namespace promiseg {

/// A model, and the packs on it, on any backend. One virtual call per image or set of prompts; see
/// `Predictor` and `Pack` for what the functions do and throw. Packs are known by the number that
/// `add_pack` returned.
class Segmenter {
 public:
  /// Takes the backend over.
  template <Backend B>
  Segmenter(B backend, const ModelFile& file)
      : implementation_(std::make_unique<Implementation<B>>(std::move(backend), file)) {}

  const ModelConfig& config() const { return implementation_->config(); }
  const std::string& model_id() const { return implementation_->model_id(); }

  std::size_t add_pack(const PackFile& file) { return implementation_->add_pack(file); }
  const PackConfig& pack_config(std::size_t pack) const {
    return implementation_->pack_config(pack);
  }

  /// Keeps the features that any of the packs reads, and those named in `taps`.
  ImageEmbedding encode(
      ImageView image, const EncoderObserver& observe = [](const EncoderStage&) {},
      std::span<const Index> taps = {}) {
    return implementation_->encode(image, observe, taps);
  }
  std::vector<Prediction> predict(const ImageEmbedding& embedding, const Prompts& prompts,
                                  const PredictOptions& options = {}) {
    return implementation_->predict(embedding, prompts, options);
  }
  Prompts pack_prompts(std::size_t pack, const ImageEmbedding& embedding) {
    return implementation_->pack_prompts(pack, embedding);
  }
  std::vector<Prediction> predict_with_pack(
      std::size_t pack, const ImageEmbedding& embedding, const Prompts& prompts,
      const std::optional<MaskCleaning>& cleaning = std::nullopt) {
    return implementation_->predict_with_pack(pack, embedding, prompts, cleaning);
  }

 private:
  class Interface {
   public:
    Interface() = default;
    Interface(const Interface&) = delete;
    Interface& operator=(const Interface&) = delete;
    virtual ~Interface() = default;
    virtual const ModelConfig& config() const = 0;
    virtual const std::string& model_id() const = 0;
    virtual std::size_t add_pack(const PackFile& file) = 0;
    virtual const PackConfig& pack_config(std::size_t pack) const = 0;
    virtual ImageEmbedding encode(ImageView image, const EncoderObserver& observe,
                                  std::span<const Index> taps) = 0;
    virtual std::vector<Prediction> predict(const ImageEmbedding& embedding, const Prompts& prompts,
                                            const PredictOptions& options) = 0;
    virtual Prompts pack_prompts(std::size_t pack, const ImageEmbedding& embedding) = 0;
    virtual std::vector<Prediction> predict_with_pack(
        std::size_t pack, const ImageEmbedding& embedding, const Prompts& prompts,
        const std::optional<MaskCleaning>& cleaning) = 0;
  };

  template <Backend B>
  class Implementation : public Interface {
   public:
    Implementation(B backend, const ModelFile& file) : predictor_(std::move(backend), file) {}

    const ModelConfig& config() const override { return predictor_.config(); }
    const std::string& model_id() const override { return predictor_.model_id(); }

    std::size_t add_pack(const PackFile& file) override {
      packs_.push_back(std::make_unique<Pack<B>>(predictor_, file));
      for (Index tap : packs_.back()->taps()) {
        if (std::find(taps_.begin(), taps_.end(), tap) == taps_.end()) taps_.push_back(tap);
      }
      return packs_.size() - 1;
    }
    const PackConfig& pack_config(std::size_t pack) const override {
      return this->pack(pack)->config();
    }
    ImageEmbedding encode(ImageView image, const EncoderObserver& observe,
                          std::span<const Index> taps) override {
      std::vector<Index> kept = taps_;
      kept.insert(kept.end(), taps.begin(), taps.end());
      return predictor_.encode(image, kept, observe);
    }
    std::vector<Prediction> predict(const ImageEmbedding& embedding, const Prompts& prompts,
                                    const PredictOptions& options) override {
      return predictor_.predict(embedding, prompts, options);
    }
    Prompts pack_prompts(std::size_t pack, const ImageEmbedding& embedding) override {
      return this->pack(pack)->prompts(embedding);
    }
    std::vector<Prediction> predict_with_pack(
        std::size_t pack, const ImageEmbedding& embedding, const Prompts& prompts,
        const std::optional<MaskCleaning>& cleaning) override {
      return this->pack(pack)->predict(embedding, prompts, cleaning);
    }

   private:
    const std::unique_ptr<Pack<B>>& pack(std::size_t number) const {
      require(number < packs_.size(), ErrorCode::invalid_argument, "pack ", number, ": there are ",
              packs_.size());
      return packs_[number];
    }

    Predictor<B> predictor_;
    std::vector<std::unique_ptr<Pack<B>>> packs_;
    std::vector<Index> taps_;
  };

  std::unique_ptr<Interface> implementation_;
};

}  // namespace promiseg

// The whole library but the backends other than the reference, which have headers of their own:
//   #include <promiseg/promiseg.hpp>
//   #include <promiseg/eigen/backend.hpp>
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "promiseg/backend/reference.hpp"
#include "promiseg/sam/predictor.hpp"

namespace promiseg {

/// A predictor whose backend is chosen at run time. One virtual call per image or set of prompts;
/// see `Predictor` for what the functions do and throw.
class Segmenter {
 public:
  /// Takes the backend over.
  template <Backend B>
  Segmenter(B backend, const ModelFile& file)
      : predictor_(std::make_unique<Erased<B>>(std::move(backend), file)) {}

  const ModelConfig& config() const { return predictor_->config(); }
  const std::string& model_id() const { return predictor_->model_id(); }

  ImageEmbedding encode(
      ImageView image, const EncoderObserver& observe = [](const EncoderStage&) {}) {
    return predictor_->encode(image, observe);
  }
  std::vector<Prediction> predict(const ImageEmbedding& embedding, const Prompts& prompts,
                                  const PredictOptions& options = {}) {
    return predictor_->predict(embedding, prompts, options);
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
    virtual ImageEmbedding encode(ImageView image, const EncoderObserver& observe) = 0;
    virtual std::vector<Prediction> predict(const ImageEmbedding& embedding, const Prompts& prompts,
                                            const PredictOptions& options) = 0;
  };

  template <Backend B>
  class Erased : public Interface {
   public:
    Erased(B backend, const ModelFile& file) : predictor_(std::move(backend), file) {}

    const ModelConfig& config() const override { return predictor_.config(); }
    const std::string& model_id() const override { return predictor_.model_id(); }
    ImageEmbedding encode(ImageView image, const EncoderObserver& observe) override {
      return predictor_.encode(image, observe);
    }
    std::vector<Prediction> predict(const ImageEmbedding& embedding, const Prompts& prompts,
                                    const PredictOptions& options) override {
      return predictor_.predict(embedding, prompts, options);
    }

   private:
    Predictor<B> predictor_;
  };

  std::unique_ptr<Interface> predictor_;
};

}  // namespace promiseg

// A batch in host memory: what training and validation read of samples, and how well masks fit
// them.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "promiseg/metrics/dice.hpp"
#include "promiseg/sam/sam_model.hpp"
#include "promiseg/train/feature_cache.hpp"
#include "promiseg/train/training_model.hpp"
#include "promiseg/train/training_sample.hpp"

namespace promiseg::train {

/// Samples side by side, as `TrainingModel` takes them: with their features from the cache or,
/// where the encoder trains, with their pixels.
class HostBatch {
 public:
  /// Room for `items` samples. Model and pack must outlive the batch.
  HostBatch(const ModelConfig& model, const PackConfig& pack, Freeze freeze, Index items)
      : model_(&model),
        pack_(&pack),
        reads_pixels_(trains_encoder(freeze)),
        targets_({items, 4 * model.grid(), 4 * model.grid()}) {
    if (reads_pixels_) return;
    const Index grid = model.grid();
    embeddings_ = Tensor<float, 4>({items, grid, grid, model.prompt_embed_dim});
    for (Index tap : tap_numbers(pack)) {
      taps_.emplace_back(Extents<4>{items, grid, grid, tap_channels(model, tap)});
    }
  }

  /// Adds the next sample. Throws what reading its features throws, `invalid_argument` naming it if
  /// it lacks pixels that are needed.
  void add(const TrainingSample& sample, const FeatureCache& cache) {
    const Index item = std::ssize(sizes_);
    if (reads_pixels_) {
      require(!sample.pixels.empty(), ErrorCode::invalid_argument, sample.name,
              ": training the encoder needs the image's pixels");
      inputs_.push_back(normalise_for_model(sample.pixels.view(), *model_));
    } else {
      read_features(cache, sample.key, item);
    }
    float* target = &targets_.view()(item, 0, 0);
    for (std::uint8_t value : sample.target.elements()) {
      *target++ = static_cast<float>(value) / 255.0F;
    }
    sizes_.push_back(visible(sample));
    boxes_.push_back(sample.box);
  }

  /// The prompt of the sample that was added last, for a pack that predicts none.
  void add_prompt(Prompt prompt) { prompts_.push_back(std::move(prompt)); }

  /// Draws how far the predicted points of the sample that was added last are moved: up to `jitter`
  /// of the frame's side along each axis.
  void draw_shifts(double jitter, Random& random) {
    if (shifts_.empty()) shifts_ = Tensor<float, 3>({targets_.extent(0), pack_->point_num, 2});
    const double reach = jitter * static_cast<double>(model_->image_size);
    const Index item = std::ssize(sizes_) - 1;
    for (Index i = 0; i < pack_->point_num; ++i) {
      for (Index axis = 0; axis < 2; ++axis) {
        shifts_.view()(item, i, axis) = static_cast<float>(random.uniform(-reach, reach));
      }
    }
  }

  /// Valid as long as the batch, and until it changes.
  TrainingBatch view() const {
    TrainingBatch batch;
    batch.embeddings = embeddings_.view();
    for (const auto& tap : taps_) batch.taps.push_back(tap.view());
    for (const auto& input : inputs_) batch.inputs.push_back(input.view());
    batch.prompts = prompts_;
    batch.targets = targets_.view();
    batch.boxes = boxes_;
    if (!shifts_.empty()) batch.shifts = shifts_.view();
    return batch;
  }

  /// The features of one sample, where they were cached.
  EncodedImage features(Index item) const {
    EncodedImage image;
    image.embedding = Tensor<float, 3>(embeddings_.view().select(0, item));
    for (std::size_t i = 0; i < taps_.size(); ++i) {
      image.taps[pack_->tap_blocks[i]] = Tensor<float, 3>(taps_[i].view().select(0, item));
    }
    return image;
  }

  /// The encoder's input [S, S, 3] of one sample, where features are not known.
  TensorView<const float, 3> input(Index item) const {
    return inputs_[static_cast<std::size_t>(item)].view();
  }

  /// Mean over the samples of the Dice of logits [B, 4 * grid, 4 * grid], inside the images.
  double dice(const Tensor<float, 3>& logits) const {
    double sum = 0;
    for (Index item = 0; item < logits.extent(0); ++item) {
      const auto [height, width] = sizes_[static_cast<std::size_t>(item)];
      Mask predicted({height, width});
      Mask truth({height, width});
      for (Index y = 0; y < height; ++y) {
        for (Index x = 0; x < width; ++x) {
          predicted.view()(y, x) = logits.view()(item, y, x) > 0 ? 255 : 0;
          truth.view()(y, x) = targets_.view()(item, y, x) > 0.5F ? 255 : 0;
        }
      }
      sum += metrics::dice(std::as_const(truth).view(), std::as_const(predicted).view());
    }
    return sum / static_cast<double>(logits.extent(0));
  }

 private:
  void read_features(const FeatureCache& cache, const std::string& key, Index item) {
    cache.read(key, FeatureCache::kEmbedding, embeddings_.view().select(0, item));
    for (std::size_t i = 0; i < taps_.size(); ++i) {
      cache.read(key, FeatureCache::tap_name(pack_->tap_blocks[i]),
                 taps_[i].view().select(0, item));
    }
  }

  /// The part of the low-resolution frame that the image covers.
  ImageSize visible(const TrainingSample& sample) const {
    const ImageSize size = sample.geometry.resized;
    const auto part = [&](Index extent) {
      return (extent * 4 * model_->grid() + model_->image_size - 1) / model_->image_size;
    };
    return {part(size.height), part(size.width)};
  }

  const ModelConfig* model_;
  const PackConfig* pack_;
  bool reads_pixels_;
  Tensor<float, 4> embeddings_;
  std::vector<Tensor<float, 4>> taps_;
  std::vector<Tensor<float, 3>> inputs_;
  Tensor<float, 3> targets_;
  Prompts prompts_;
  std::vector<std::optional<BoxPrompt>> boxes_;
  Tensor<float, 3> shifts_;
  std::vector<ImageSize> sizes_;  ///< of the samples, in the low-resolution frame
};

}  // namespace promiseg::train

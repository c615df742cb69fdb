// The training loop: batches of cached features through the model, the optimiser, validation after
// every epoch, and a state that survives whatever happens.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "promiseg/adapt/pack.hpp"
#include "promiseg/metrics/dice.hpp"
#include "promiseg/train/feature_cache.hpp"
#include "promiseg/train/training_model.hpp"
#include "promiseg/train/training_sample.hpp"
#include "promiseg/train/training_state.hpp"

namespace promiseg::train {

/// What a run works on. All must outlive the trainer.
struct TrainingTask {
  const ModelConfig& model;
  const PackConfig& pack;
  const TrainConfig& config;
  nn::WeightSource& model_weights;  ///< SAM's
  nn::WeightSource& pack_weights;   ///< what the pack begins with
  const FeatureCache& cache;
  std::span<const std::vector<TrainingSample>> train;  ///< an image each, in its versions
  std::span<const TrainingSample> val;
  std::string run;  ///< names settings, data and model, for the state
};

/// How a run tells of itself, and is told to stop. Every member may be empty.
struct TrainingObserver {
  /// After a step: the position, the mean loss and Dice of the epoch so far, steps in an epoch.
  std::function<void(const RunPosition&, double loss, double dice, Index steps)> step;
  std::function<void(const EpochRecord&)> epoch;
  /// Validation found the best parameters so far: keep them.
  std::function<void(Parameters&, const RunPosition&)> best;
  std::function<bool()> wants_to_stop;  ///< asked after every step
};

/// SAM's parts that train under a name of the original's; APM and IPS always do.
inline Role role_of(const std::string& name, Freeze freeze) {
  if (name.ends_with("gaussian_matrix")) return Role::frozen;  // a buffer of the original
  const bool decoder = freeze == Freeze::fz2 || freeze == Freeze::fz3;
  const bool prompts = freeze == Freeze::fz1 || freeze == Freeze::fz3;
  if (name.starts_with("image_encoder.")) return Role::frozen;
  if (name.starts_with("mask_decoder.")) return decoder ? Role::trained : Role::frozen;
  if (name.starts_with("prompt_encoder.")) return prompts ? Role::trained : Role::frozen;
  return name.find(".running_") == std::string::npos ? Role::trained : Role::statistics;
}

/// Trains a pack. The result depends on the task alone: not on threads, interruptions or the time
/// of day.
template <TrainingBackend B>
class Trainer {
 public:
  /// Throws `invalid_argument` for settings that cannot be.
  Trainer(B& backend, const TrainingTask& task)
      : backend_(&backend),
        task_(task),
        weights_(task.model_weights, task.pack_weights),
        parameters_(weights_, [freeze = task.config.freeze](
                                  const std::string& name) { return role_of(name, freeze); }),
        optimiser_(task.config.optimiser),
        network_(backend, task.model, task.pack, parameters_) {
    validate(task.config);
    require(!task.train.empty() && !task.val.empty(), ErrorCode::invalid_argument,
            "training needs images to learn from and images to choose the best state by");
  }

  const Parameters& parameters() const { return parameters_; }
  const RunPosition& position() const { return position_; }

  /// Goes on from a state. Throws what `load_state` throws.
  void resume(const std::filesystem::path& state) {
    position_ = load_state(state, task_.run, parameters_, optimiser_);
    network_.refresh();
  }

  /// Trains until the end, or until the observer wants to stop; true at the end. The state is
  /// written at least once a minute, atomically.
  bool run(const std::filesystem::path& state, const TrainingObserver& observer) {
    const auto save = [&] {
      const Clock::time_point now = Clock::now();
      if (position_.step > 0) {
        position_.seconds += std::chrono::duration<double>(now - started_).count();
      }
      started_ = now;
      save_state(state, task_.run, position_, parameters_, optimiser_);
      saved_ = now;
    };
    saved_ = Clock::now();
    while (position_.epoch < task_.config.epochs) {
      const std::vector<std::size_t> order = epoch_order(position_.epoch);
      const Index steps = steps_per_epoch();
      started_ = Clock::now();
      while (position_.step < steps) {
        take_step(order);
        if (observer.step) {
          const auto done = static_cast<double>(position_.step);
          observer.step(position_, position_.loss_sum / done, position_.dice_sum / done, steps);
        }
        const bool stop = observer.wants_to_stop && observer.wants_to_stop();
        if (stop || Clock::now() - saved_ > kSaveEvery) save();
        if (stop) return false;
      }
      finish_epoch(observer);
      save();
    }
    return true;
  }

  /// Dice of the current parameters, the mean over the validation images, in the model's frame.
  double validation_dice() {
    const PackWeights pack = pack_weights(parameters_, task_.pack, task_.model);
    Adapter<B> adapter(*backend_, task_.pack, task_.model, pack);
    if (decoder_ == nullptr || task_.config.freeze != Freeze::fz0) {
      decoder_ = std::make_unique<PromptedDecoder<B>>(
          *backend_, task_.model, prompt_encoder_weights(parameters_, task_.model),
          mask_decoder_weights(parameters_, task_.model));
    }
    double sum = 0;
    for (std::size_t i = 0; i < task_.val.size(); ++i) {
      sum += validation_dice_of(task_.val[i], i, adapter);
    }
    return sum / static_cast<double>(task_.val.size());
  }

 private:
  using Clock = std::chrono::steady_clock;

  static constexpr std::chrono::seconds kSaveEvery{60};
  static constexpr std::uint64_t kOrderStream = 1;
  static constexpr std::uint64_t kPromptStream = 2;
  static constexpr std::uint64_t kValidationStream = 3;

  std::uint64_t stream(std::uint64_t kind, Index epoch, std::size_t index) const {
    return mix_bits(kind) ^ mix_bits(static_cast<std::uint64_t>(epoch) << 32 ^ index);
  }

  Index images_per_epoch() const {
    const Index all = std::ssize(task_.train);
    const Index wanted = task_.config.images_per_epoch;
    return wanted > 0 ? std::min(wanted, all) : all;
  }

  Index steps_per_epoch() const {
    return (images_per_epoch() + task_.config.batch - 1) / task_.config.batch;
  }

  /// The images of an epoch in the order of their steps.
  std::vector<std::size_t> epoch_order(Index epoch) const {
    Random random(task_.config.seed, stream(kOrderStream, epoch, 0));
    std::vector<std::size_t> order(task_.train.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    for (std::size_t i = order.size(); i > 1; --i) {
      std::swap(order[i - 1], order[static_cast<std::size_t>(random.below(static_cast<Index>(i)))]);
    }
    order.resize(static_cast<std::size_t>(images_per_epoch()));
    return order;
  }

  void take_step(const std::vector<std::size_t>& order) {
    const Index begin = position_.step * task_.config.batch;
    const Index count = std::min(task_.config.batch, std::ssize(order) - begin);
    Batch batch(task_, count);
    for (Index i = 0; i < count; ++i) {
      const std::size_t image = order[static_cast<std::size_t>(begin + i)];
      Random random(task_.config.seed, stream(kPromptStream, position_.epoch, image));
      const auto& versions = task_.train[image];
      const TrainingSample& sample =
          versions[static_cast<std::size_t>(random.below(std::ssize(versions)))];
      batch.read(task_, sample, i);
      if (task_.pack.apm == ApmKind::none) {
        batch.prompts.push_back(
            given_prompt(sample, task_.config, task_.model.image_size, true, random));
      } else if (task_.config.point_jitter > 0) {
        batch.draw_shifts(task_, i, random);
      }
    }
    parameters_.clear_gradients();
    const PassResult pass = network_.pass(batch.view(), task_.config.loss);
    require(std::isfinite(pass.loss), ErrorCode::invalid_argument,
            "training: the loss is no longer a number; try a lower rate than ",
            task_.config.optimiser.rate);
    const Index steps = steps_per_epoch();
    rate_ = learning_rate(task_.config.optimiser, position_.epoch * steps + position_.step,
                          task_.config.epochs * steps);
    optimiser_.step(parameters_, rate_);
    network_.refresh();
    ++position_.step;
    position_.loss_sum += pass.loss;
    position_.dice_sum += batch.dice(pass.logits);
  }

  void finish_epoch(const TrainingObserver& observer) {
    const auto steps = static_cast<double>(position_.step);
    EpochRecord record;
    record.epoch = ++position_.epoch;
    record.rate = rate_;
    record.loss = position_.loss_sum / steps;
    record.train_dice = position_.dice_sum / steps;
    record.val_dice = validation_dice();
    record.seconds =
        position_.seconds + std::chrono::duration<double>(Clock::now() - started_).count();
    position_.records.push_back(record);
    position_.step = 0;
    position_.loss_sum = position_.dice_sum = position_.seconds = 0;
    if (record.val_dice > position_.best_dice) {
      position_.best_dice = record.val_dice;
      position_.best_epoch = record.epoch;
      if (observer.best) observer.best(parameters_, position_);
    }
    if (observer.epoch) observer.epoch(record);
  }

  double validation_dice_of(const TrainingSample& sample, std::size_t index, Adapter<B>& adapter) {
    Batch batch(task_, 1);
    batch.read(task_, sample, 0);
    Prompts prompts;
    if (task_.pack.apm == ApmKind::none) {
      Random random(task_.config.seed, stream(kValidationStream, 0, index));
      prompts.push_back(given_prompt(sample, task_.config, task_.model.image_size, false, random));
    } else {
      std::map<Index, Tensor<float, 3>> taps;
      for (std::size_t i = 0; i < task_.pack.tap_blocks.size(); ++i) {
        taps[task_.pack.tap_blocks[i]] =
            Tensor<float, 3>(std::as_const(batch.taps[i]).view().select(0, 0));
      }
      const PredictedPoints predicted = adapter.predict_points(taps);
      Prompt& prompt = prompts.emplace_back();
      for (Index i = 0; i < task_.pack.point_num; ++i) {
        const Index label = task_.pack.point_value[static_cast<std::size_t>(i)];
        prompt.points.push_back({predicted.coordinates.view()(i, 0),
                                 predicted.coordinates.view()(i, 1), static_cast<int>(label)});
      }
    }
    const Tensor<float, 3> embedding(std::as_const(batch.embeddings).view().select(0, 0));
    const Tensor<float, 2> shift = adapter.token_shift(embedding);
    const DecodedMasks decoded = decoder_->decode(
        embedding.view(), prompts,
        shift.empty() ? TensorView<const float, 2>{} : std::as_const(shift).view());
    const Tensor<float, 3> logits(decoded.logits.view().select(1, task_.pack.mask_token));
    return batch.dice(logits);
  }

  /// A batch in host memory.
  struct Batch {
    Batch(const TrainingTask& task, Index count)
        : embeddings({count, task.model.grid(), task.model.grid(), task.model.prompt_embed_dim}),
          targets({count, 4 * task.model.grid(), 4 * task.model.grid()}) {
      if (task.pack.apm == ApmKind::none) return;
      for (Index tap : task.pack.tap_blocks) {
        taps.emplace_back(
            Extents<4>{count, task.model.grid(), task.model.grid(), tap_channels(task.model, tap)});
      }
    }

    void read(const TrainingTask& task, const TrainingSample& sample, Index item) {
      const SafetensorsFile file = task.cache.open(sample.key);
      FeatureCache::read(file, "embedding", embeddings.view().select(0, item));
      for (std::size_t i = 0; i < taps.size(); ++i) {
        FeatureCache::read(file, FeatureCache::tap_name(task.pack.tap_blocks[i]),
                           taps[i].view().select(0, item));
      }
      float* target = &targets.view()(item, 0, 0);
      for (std::uint8_t value : sample.target.elements()) {
        *target++ = static_cast<float>(value) / 255.0F;
      }
      sizes.push_back(visible(sample, task.model));
      const auto last = static_cast<float>(task.model.image_size - 1);
      boxes.push_back(sample.box.value_or(BoxPrompt{0, 0, last, last}));
    }

    void draw_shifts(const TrainingTask& task, Index item, Random& random) {
      if (shifts.empty()) {
        shifts = Tensor<float, 3>({embeddings.extent(0), task.pack.point_num, 2});
      }
      const double reach = task.config.point_jitter * static_cast<double>(task.model.image_size);
      for (Index i = 0; i < task.pack.point_num; ++i) {
        for (Index axis = 0; axis < 2; ++axis) {
          shifts.view()(item, i, axis) = static_cast<float>(random.uniform(-reach, reach));
        }
      }
    }

    /// The part of the low-resolution frame that the image covers.
    static ImageSize visible(const TrainingSample& sample, const ModelConfig& model) {
      const ImageSize size = sample.geometry.resized;
      const auto part = [&](Index extent) {
        return (extent * 4 * model.grid() + model.image_size - 1) / model.image_size;
      };
      return {part(size.height), part(size.width)};
    }

    TrainingBatch view() const {
      TrainingBatch batch;
      batch.embeddings = embeddings.view();
      for (const auto& tap : taps) batch.taps.push_back(tap.view());
      batch.prompts = prompts;
      batch.targets = targets.view();
      batch.boxes = boxes;
      if (!shifts.empty()) batch.shifts = shifts.view();
      return batch;
    }

    /// Mean over the items of the Dice of logits [B, 4 * grid, 4 * grid], inside the images.
    double dice(const Tensor<float, 3>& logits) const {
      double sum = 0;
      for (Index item = 0; item < logits.extent(0); ++item) {
        const auto [height, width] = sizes[static_cast<std::size_t>(item)];
        Mask predicted({height, width});
        Mask truth({height, width});
        for (Index y = 0; y < height; ++y) {
          for (Index x = 0; x < width; ++x) {
            predicted.view()(y, x) = logits.view()(item, y, x) > 0 ? 255 : 0;
            truth.view()(y, x) = targets.view()(item, y, x) > 0.5F ? 255 : 0;
          }
        }
        sum += metrics::dice(std::as_const(truth).view(), std::as_const(predicted).view());
      }
      return sum / static_cast<double>(logits.extent(0));
    }

    Tensor<float, 4> embeddings;
    std::vector<Tensor<float, 4>> taps;
    Tensor<float, 3> targets;
    Prompts prompts;
    std::vector<BoxPrompt> boxes;
    Tensor<float, 3> shifts;
    std::vector<ImageSize> sizes;
  };

  B* backend_;
  TrainingTask task_;
  ModelAndPackWeights weights_;
  Parameters parameters_;
  Adam optimiser_;
  TrainingModel<B> network_;
  std::unique_ptr<PromptedDecoder<B>> decoder_;
  RunPosition position_;
  double rate_ = 0;
  Clock::time_point started_;
  Clock::time_point saved_;
};

}  // namespace promiseg::train

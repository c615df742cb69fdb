// The training loop: batches of cached features, or of images where the encoder trains, through the
// model, the optimiser, validation after every epoch, and a state that survives whatever happens.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "promiseg/adapt/pack.hpp"
#include "promiseg/sam/sam_model.hpp"
#include "promiseg/train/feature_cache.hpp"
#include "promiseg/train/host_batch.hpp"
#include "promiseg/train/training_model.hpp"
#include "promiseg/train/training_sample.hpp"
#include "promiseg/train/training_state.hpp"

namespace promiseg::train {

/// What a run works on. All must outlive the trainer.
struct TrainingTask {
  const ModelConfig& model;
  const PackConfig& pack;
  const TrainConfig& config;
  nn::WeightSource& model_weights;                     ///< SAM's
  nn::WeightSource& pack_weights;                      ///< what the pack begins with
  const FeatureCache& cache;                           ///< not read where the encoder trains
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

/// SAM's parts that train under a name of the original's; APM and IPS always do. The encoder's
/// batch norms keep the statistics that they have: it sees one image at a time.
inline Role role_of(const std::string& name, Freeze freeze) {
  if (name.ends_with("gaussian_matrix")) return Role::frozen;  // a buffer of the original
  const bool statistics = name.find(".running_") != std::string::npos;
  const bool all = freeze == Freeze::fz4;
  const bool decoder = all || freeze == Freeze::fz2 || freeze == Freeze::fz3;
  const bool prompts = all || freeze == Freeze::fz1 || freeze == Freeze::fz3;
  if (name.starts_with("image_encoder.")) return all && !statistics ? Role::trained : Role::frozen;
  if (name.starts_with("mask_decoder.")) return decoder ? Role::trained : Role::frozen;
  if (name.starts_with("prompt_encoder.")) return prompts ? Role::trained : Role::frozen;
  return statistics ? Role::statistics : Role::trained;
}

/// Trains a pack. The result depends on the task and the instruction set: not on threads,
/// interruptions or the time of day.
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
        network_(backend, task.model, task.pack, network_parameters()) {
    validate(task.config);
    require(!task.train.empty() && !task.val.empty(), ErrorCode::invalid_argument,
            "training needs images to learn from and images to choose the best state by");
  }

  const Parameters& parameters() const { return parameters_; }
  const RunPosition& position() const { return position_; }

  /// Goes on from a state. Throws what `load_state` throws.
  void resume(const std::filesystem::path& state) {
    position_ = load_state(state, task_.run, parameters_, optimiser_);
    require(position_.epoch >= 0 && position_.epoch <= task_.config.epochs && position_.step >= 0 &&
                position_.step <= steps_per_epoch(),
            ErrorCode::bad_format, state.string(), ": epoch ", position_.epoch, ", step ",
            position_.step, " lie outside the run");
    network_.refresh();
  }

  /// Trains until the end, or until the observer wants to stop; true at the end. The state is
  /// written after every epoch and, between steps, once a minute, atomically.
  bool run(const std::filesystem::path& state, const TrainingObserver& observer) {
    const auto save = [&] {
      const Clock::time_point now = Clock::now();
      if (position_.step > 0) {
        position_.seconds += std::chrono::duration<double>(now - started_).count();
      }
      started_ = now;
      save_state(state, task_.run, position_, parameters_, optimiser_);
      saved_ = Clock::now();  // not `now`: a save may take longer than the time between two
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
    std::unique_ptr<SamModel<B>> sam;  // as it is now, where features change as well
    if (trains_encoder(task_.config.freeze)) {
      sam = std::make_unique<SamModel<B>>(*backend_, task_.model,
                                          sam_weights(parameters_, task_.model));
    } else if (decoder_ == nullptr || task_.config.freeze != Freeze::fz0) {
      decoder_ = std::make_unique<PromptedDecoder<B>>(
          *backend_, task_.model, prompt_encoder_weights(parameters_, task_.model),
          mask_decoder_weights(parameters_, task_.model));
    }
    PromptedDecoder<B>& decoder = sam != nullptr ? sam->decoder() : *decoder_;
    double sum = 0;
    for (std::size_t i = 0; i < task_.val.size(); ++i) {
      HostBatch batch = empty_batch(1);
      batch.add(task_.val[i], task_.cache);
      const EncodedImage image =
          sam != nullptr
              ? sam->encode(batch.input(0), tap_numbers(task_.pack), [](const EncoderStage&) {})
              : batch.features(0);
      const Prompt prompt = validation_prompt(i, image, adapter);
      sum += batch.dice(predict(image, prompt, adapter, decoder));
    }
    return sum / static_cast<double>(task_.val.size());
  }

 private:
  using Clock = std::chrono::steady_clock;

  static constexpr std::chrono::seconds kSaveEvery{60};
  static constexpr std::uint64_t kOrderStream = 1;
  static constexpr std::uint64_t kPromptStream = 2;
  static constexpr std::uint64_t kValidationStream = 3;

  /// The parameters, the encoder's among them where it trains: so the network knows.
  Parameters& network_parameters() {
    if (trains_encoder(task_.config.freeze)) sam_weights(parameters_, task_.model);
    return parameters_;
  }

  HostBatch empty_batch(Index items) const {
    return HostBatch(task_.model, task_.pack, task_.config.freeze, items);
  }

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
    HostBatch batch = empty_batch(count);
    for (Index i = 0; i < count; ++i) {
      const std::size_t image = order[static_cast<std::size_t>(begin + i)];
      Random random(task_.config.seed, stream(kPromptStream, position_.epoch, image));
      const auto& versions = task_.train[image];
      const TrainingSample& sample =
          versions[static_cast<std::size_t>(random.below(std::ssize(versions)))];
      batch.add(sample, task_.cache);
      if (task_.pack.apm == ApmKind::none) {
        batch.add_prompt(given_prompt(sample, task_.config, task_.model.image_size, true, random));
      } else if (task_.config.point_jitter > 0) {
        batch.draw_shifts(task_.config.point_jitter, random);
      }
    }
    parameters_.clear_gradients();
    const PassResult pass = network_.pass(batch.view(), task_.config.loss);
    require(std::isfinite(pass.loss), ErrorCode::invalid_argument,
            "training: the loss is no longer a number; try a lower rate than ",
            task_.config.optimiser.rate);
    require(std::isfinite(gradient_norm(parameters_)), ErrorCode::invalid_argument,
            "training: a gradient is no longer a number; try a lower rate than ",
            task_.config.optimiser.rate);
    optimiser_.step(parameters_, rate_of(position_.step));
    network_.refresh();
    ++position_.step;
    position_.loss_sum += pass.loss;
    position_.dice_sum += batch.dice(pass.logits);
  }

  /// The learning rate of a step of the current epoch.
  double rate_of(Index step) const {
    const Index steps = steps_per_epoch();
    return learning_rate(task_.config.optimiser, position_.epoch * steps + step,
                         task_.config.epochs * steps);
  }

  void finish_epoch(const TrainingObserver& observer) {
    const auto steps = static_cast<double>(position_.step);
    EpochRecord record;
    record.rate = rate_of(position_.step - 1);
    record.epoch = ++position_.epoch;
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

  /// What a validation image is decoded with: what APM predicts, or what it is trained with.
  Prompt validation_prompt(std::size_t index, const EncodedImage& image,
                           Adapter<B>& adapter) const {
    if (task_.pack.apm == ApmKind::none) {
      Random random(task_.config.seed, stream(kValidationStream, 0, index));
      return given_prompt(task_.val[index], task_.config, task_.model.image_size, false, random);
    }
    const PredictedPoints predicted = adapter.predict_points(image.taps);
    Prompt prompt;
    for (Index i = 0; i < task_.pack.point_num; ++i) {
      const Index label = task_.pack.point_value[static_cast<std::size_t>(i)];
      prompt.points.push_back({predicted.coordinates.view()(i, 0),
                               predicted.coordinates.view()(i, 1), static_cast<int>(label)});
    }
    return prompt;
  }

  /// Logits [1, 4 * grid, 4 * grid] of the pack's mask token.
  Tensor<float, 3> predict(const EncodedImage& image, const Prompt& prompt, Adapter<B>& adapter,
                           PromptedDecoder<B>& decoder) const {
    const Tensor<float, 2> shift = adapter.token_shift(image.embedding);
    const DecodedMasks decoded =
        decoder.decode(image.embedding.view(), std::span(&prompt, 1),
                       shift.empty() ? TensorView<const float, 2>{} : shift.view());
    return Tensor<float, 3>(decoded.logits.view().select(1, task_.pack.mask_token));
  }

  B* backend_;
  TrainingTask task_;
  ModelAndPackWeights weights_;
  Parameters parameters_;
  Adam optimiser_;
  TrainingModel<B> network_;
  std::unique_ptr<PromptedDecoder<B>> decoder_;
  RunPosition position_;

  Clock::time_point started_;
  Clock::time_point saved_;
};

}  // namespace promiseg::train

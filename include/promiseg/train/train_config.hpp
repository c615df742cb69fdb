// Everything that decides what a training run does.
#pragma once

#include <cstdint>
#include <string>

#include "promiseg/io/config_fields.hpp"
#include "promiseg/train/losses.hpp"
#include "promiseg/train/optimiser.hpp"

namespace promiseg::train {

/// What stands for prompts where APM does not predict them.
enum class TrainPrompt {
  image,   ///< the whole model frame as a box
  box,     ///< the true object's box, shaken a little
  points,  ///< true points, half on the object, half beside it
};

/// What stays as it is, by the names of the original: FZ0 all of SAM, FZ1 encoder and decoder, FZ2
/// encoder and prompt encoder, FZ3 the encoder, FZ4 nothing.
enum class Freeze { fz0, fz1, fz2, fz3, fz4 };

/// True if the image encoder trains: then no features can be known beforehand, and the result is
/// another model.
constexpr bool trains_encoder(Freeze freeze) { return freeze == Freeze::fz4; }

struct TrainConfig {
  TrainPrompt prompt = TrainPrompt::image;
  Freeze freeze = Freeze::fz0;
  LossConfig loss;
  OptimiserConfig optimiser;
  Index epochs = 20;
  Index batch = 8;
  Index images_per_epoch = 0;  ///< 0: all of them
  std::uint64_t seed = 0;
  Index point_num = 16;      ///< of the prompt `points`
  double box_jitter = 0.05;  ///< how far a side of the prompt `box` moves, as a part of its length
  /// How far APM's points are moved before they are decoded, as a part of the frame's side. What it
  /// predicts for images it has learnt by heart is better than what it will predict for others;
  /// this keeps the decoder from relying on it.
  double point_jitter = 0;
};

/// Throws `invalid_argument` naming the field if one is out of range.
inline void validate(const TrainConfig& config) {
  const auto check = [](bool good, std::string_view name, const auto& value) {
    require(good, ErrorCode::invalid_argument, "training: ", name, " cannot be ", value);
  };
  check(config.epochs >= 1 && config.epochs <= 100000, "epochs", config.epochs);
  check(config.batch >= 1 && config.batch <= 1024, "batch", config.batch);
  check(config.images_per_epoch >= 0, "images_per_epoch", config.images_per_epoch);
  check(config.point_num >= 2 && config.point_num <= 4096, "point_num", config.point_num);
  check(config.box_jitter >= 0 && config.box_jitter < 0.5, "box_jitter", config.box_jitter);
  check(config.point_jitter >= 0 && config.point_jitter < 0.5, "point_jitter", config.point_jitter);
  check(config.loss.corner_weight >= 0, "corner_weight", config.loss.corner_weight);
  const OptimiserConfig& optimiser = config.optimiser;
  check(optimiser.rate > 0 && optimiser.rate <= 10, "rate", optimiser.rate);
  check(optimiser.weight_decay >= 0 && optimiser.weight_decay <= 10, "weight_decay",
        optimiser.weight_decay);
  check(optimiser.clip_norm >= 0, "clip_norm", optimiser.clip_norm);
  check(optimiser.warmup_steps >= 0, "warmup_steps", optimiser.warmup_steps);
}

}  // namespace promiseg::train

namespace promiseg::detail {

template <>
struct EnumNames<train::TrainPrompt> {
  static constexpr std::array<std::string_view, 3> kNames = {"image", "box", "points"};
};
template <>
struct EnumNames<train::Freeze> {
  static constexpr std::array<std::string_view, 5> kNames = {"fz0", "fz1", "fz2", "fz3", "fz4"};
};

}  // namespace promiseg::detail

namespace promiseg::train {

namespace detail {

template <class Config, class Visit>
void visit_train_fields(Config& config, const Visit& visit) {
  visit("train_prompt", config.prompt);
  visit("freeze", config.freeze);
  visit("loss", config.loss.kind);
  visit("corner_weight", config.loss.corner_weight);
  visit("rate", config.optimiser.rate);
  visit("beta1", config.optimiser.beta1);
  visit("beta2", config.optimiser.beta2);
  visit("epsilon", config.optimiser.epsilon);
  visit("weight_decay", config.optimiser.weight_decay);
  visit("clip_norm", config.optimiser.clip_norm);
  visit("warmup_steps", config.optimiser.warmup_steps);
  visit("schedule", config.optimiser.schedule);
  visit("epochs", config.epochs);
  visit("batch", config.batch);
  visit("images_per_epoch", config.images_per_epoch);
  visit("point_num", config.point_num);
  visit("box_jitter", config.box_jitter);
  visit("point_jitter", config.point_jitter);
}

}  // namespace detail

/// For the record in a pack, and to know a run again.
inline Json to_json(const TrainConfig& config) {
  Json json = promiseg::detail::fields_to_json(
      [&](const auto& visit) { detail::visit_train_fields(config, visit); });
  json.set("seed", static_cast<std::int64_t>(config.seed));
  return json;
}

}  // namespace promiseg::train

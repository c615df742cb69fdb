// What a `promiseg train` command line asks for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "command.hpp"
#include "promiseg/adapt/pack_config.hpp"
#include "promiseg/train/augmentation/config.hpp"
#include "promiseg/train/train_config.hpp"

namespace promiseg::cli {

/// The options as they were given.
struct TrainingOptions {
  CommonOptions common;
  std::string model;
  std::string output;
  std::string model_output;  ///< where the encoder trains: the model goes there

  // Data.
  std::string data;
  std::string images;
  std::string masks;
  std::string window;
  double val_fraction = 0.2;
  Index augment = 0;
  std::string augment_config;
  std::string cache;
  double cache_limit = 20;

  // The pack.
  std::string method = "ips";
  std::string apm;
  std::string points;
  std::string config;
  std::string label;
  std::string licence = "not stated";
  std::string init;
  bool half = false;

  // The run.
  std::string prompt = "image";
  std::string freeze = "fz0";
  std::string loss = "logits";
  std::string optimiser = "adamw";
  std::string schedule = "cosine";
  std::optional<double> rate;
  std::optional<Index> batch;
  std::optional<double> weight_decay;
  std::optional<double> corner_weight;
  std::optional<double> point_jitter;
  train::TrainConfig train;
  bool resume = false;

  void add_to(CLI::App& command);

  /// True if nothing of the model stays frozen, so that another one comes out.
  bool trains_encoder() const { return freeze == "fz4"; }

  /// The settings of the pack for a model. Throws `UsageError`.
  PackConfig pack_config(const ModelConfig& model) const;
  /// The settings of the run. Throws `UsageError`.
  train::TrainConfig train_config(const PackConfig& pack) const;
  /// The prompt that IPS alone is trained with.
  train::TrainPrompt train_prompt() const;
  /// How images are varied. Throws `UsageError`.
  AugmentationConfig augmentation() const;
};

/// Throws `UsageError` for options that contradict each other, before any work.
void check_options(const TrainingOptions& options);

}  // namespace promiseg::cli

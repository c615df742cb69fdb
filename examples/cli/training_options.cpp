#include "training_options.hpp"

#include <algorithm>

#include "config_argument.hpp"
#include "promiseg/io/intensity.hpp"
#include "synth.hpp"

namespace promiseg::cli {
namespace {

/// A value of an enumeration by its name in JSON; the parser has checked the name.
template <class E>
E named(const std::string& name) {
  E value{};
  detail::from_json_value(Json(name), value);
  return value;
}

/// New weights take large steps; those that already know something, small ones.
double usual_rate(ApmKind apm, train::Freeze freeze) {
  if (freeze == train::Freeze::fz4) return 1e-5;
  if (freeze != train::Freeze::fz0) return 3e-4;
  return apm == ApmKind::none ? 3e-3 : 1e-3;
}

}  // namespace

void TrainingOptions::add_to(CLI::App& command) {
  command.add_option("-o,--output", output, "The pack to write")->required();
  command.add_option("--model", model, "Model file (default: LiteMedSAM, see README)");

  CLI::Option_group& data_group = *command.add_option_group("Data");
  data_group.add_option("--data", data,
                        "CSV with the columns image_name, train_type (train, val, test) and "
                        "mask_name; paths are relative to it");
  data_group.add_option("--images", images, "Folder of images, in place of --data");
  data_group.add_option("--masks", masks, "Folder of their masks, of the same names");
  data_group.add_option("--window", window,
                        "Intensities used: LO,HI or auto, as `segment` takes it");
  data_group
      .add_option("--val-fraction", val_fraction,
                  "Part of the training images that chooses the best state, where the data name "
                  "none for it")
      ->check(CLI::Range(0.01, 0.9))
      ->capture_default_str();
  data_group
      .add_option("--augment", augment,
                  "Varied versions of every training image, made once and kept; 0: none")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  data_group.add_option("--augment-config", augment_config,
                        "JSON object (or @FILE) of chances and ranges (docs/augmentation.md)");
  data_group.add_option("--cache", cache,
                        "Folder for encoder features (default: "
                        "${XDG_CACHE_HOME:-~/.cache}/promiseg)");
  data_group.add_option("--cache-limit", cache_limit, "Most GB of features this run may add")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();

  CLI::Option_group& pack_group = *command.add_option_group("Pack");
  pack_group.add_option("--method", method, "What to train: ips, apm or apm+ips")
      ->check(CLI::IsMember({"ips", "apm", "apm+ips"}))
      ->capture_default_str();
  pack_group.add_option("--apm", apm, "Which APM: resnet18 (default), resnet34 or cross")
      ->check(CLI::IsMember({"resnet18", "resnet34", "cross"}));
  pack_group
      .add_option("--points", points,
                  "What APM predicts: free (16 points, 8 on the object) or corners (of a box). "
                  "Default: corners for LiteMedSAM, which knows boxes only, else free")
      ->check(CLI::IsMember({"free", "corners"}));
  pack_group.add_option("--config", config,
                        "JSON object (or @FILE) of pack fields such as tap_blocks");
  pack_group.add_option("--label", label, "What the pack finds, for legends and reports");
  pack_group.add_option("--licence", licence, "Licence of the pack, to be recorded")
      ->capture_default_str();
  pack_group.add_option("--init", init,
                        "Pack to begin with, as far as it goes; the rest is random");
  pack_group.add_flag("--half", half, "Write the pack at half precision");

  CLI::Option_group& run_group = *command.add_option_group("Run");
  run_group
      .add_option("--train-prompt", prompt,
                  "The prompt that IPS alone is trained with: image (the whole frame), box "
                  "(true, shaken) or points (true ones)")
      ->check(CLI::IsMember({"image", "box", "points"}))
      ->capture_default_str();
  run_group.add_option("--epochs", train.epochs, "Times that every image is seen")
      ->capture_default_str();
  run_group
      .add_option("--images-per-epoch", train.images_per_epoch,
                  "Images of an epoch, drawn anew for each; 0: all")
      ->capture_default_str();
  run_group.add_option("--batch", batch,
                       "Images in a step (default: 8; with fz4, whose memory grows with it, 1)");
  run_group.add_option("--seed", train.seed, "The run is repeatable by it")->capture_default_str();
  run_group.add_option("--loss", loss, "logits, or paper (the original's, with two sigmoids)")
      ->check(CLI::IsMember({"logits", "paper"}))
      ->capture_default_str();
  run_group.add_option("--corner-weight", corner_weight,
                       "Weight of the auxiliary loss that pulls APM's corners to the true box "
                       "(default: 5 for corners)");
  run_group
      .add_option("--box-jitter", train.box_jitter,
                  "How far a side of the prompt `box` moves, as a part of its length")
      ->capture_default_str();
  run_group.add_option("--point-jitter", point_jitter,
                       "How far APM's points are moved before decoding, as a part of the frame "
                       "(default: 0.05 for corners)");
  run_group.add_option("--optimiser", optimiser, "adamw or adam")
      ->check(CLI::IsMember({"adamw", "adam"}))
      ->capture_default_str();
  run_group.add_option(
      "--rate", rate,
      "Learning rate (default: 0.003, with APM 0.001; 0.0003 where parts of SAM train, "
      "0.00001 for fz4)");
  run_group.add_option("--schedule", schedule, "The rate over time: cosine or constant")
      ->check(CLI::IsMember({"cosine", "constant"}))
      ->capture_default_str();
  run_group
      .add_option("--warmup", train.optimiser.warmup_steps,
                  "Steps over which the rate grows from nothing")
      ->capture_default_str();
  run_group.add_option("--weight-decay", weight_decay, "Of adamw (default: 0.01)");
  run_group
      .add_option("--clip", train.optimiser.clip_norm, "Largest norm of the gradients; 0: no limit")
      ->capture_default_str();
  run_group
      .add_option("--freeze", freeze,
                  "What of SAM stays frozen: fz0 (all), fz1 (encoder and decoder), fz2 "
                  "(encoder and prompt encoder), fz3 (encoder), fz4 (nothing: --model-out)")
      ->check(CLI::IsMember({"fz0", "fz1", "fz2", "fz3", "fz4"}))
      ->capture_default_str();
  run_group.add_option("--model-out", model_output,
                       "The model that --freeze fz4 makes; the pack belongs to it");
  run_group.add_flag("--resume", resume, "Go on with an interrupted run of the same settings");
  common.add_to(command);
}

PackConfig TrainingOptions::pack_config(const ModelConfig& model_config) const {
  PackConfig pack;
  if (method == "ips") {
    pack.mask_token = model_config.encoder == EncoderKind::tiny_vit ? 0 : 1;
    if (prompt == "image") pack.own_prompt = OwnPrompt::image;
  } else {
    pack =
        tools::published_pack_config("promise_" + (apm.empty() ? "resnet18" : apm), model_config);
    const bool knows_boxes_only = model_config.encoder == EncoderKind::tiny_vit;
    if (points == "corners" || (points.empty() && knows_boxes_only)) {
      pack.point_num = 2;
      pack.point_value = {2, 3};
    }
  }
  pack.ips = method != "apm";
  pack.label = label;
  if (const std::optional<Json> fields = parse_config(config)) {
    checked_config([&] { apply_json(*fields, pack); });
  }
  pack.decoder = freeze != "fz0" && !trains_encoder();  // the new model has the decoder, too
  if ((pack.apm != ApmKind::none) != (method != "ips") || pack.ips != (method != "apm")) {
    throw UsageError("--config contradicts --method " + method);
  }
  checked_config([&] { validate(pack, model_config); });
  return pack;
}

train::TrainPrompt TrainingOptions::train_prompt() const {
  return method == "ips" ? named<train::TrainPrompt>(prompt) : train::TrainPrompt::image;
}

train::TrainConfig TrainingOptions::train_config(const PackConfig& pack) const {
  train::TrainConfig result = train;
  result.prompt = named<train::TrainPrompt>(prompt);
  result.freeze = named<train::Freeze>(freeze);
  result.loss.kind = named<train::LossKind>(loss);
  result.optimiser.schedule = named<train::Schedule>(schedule);
  result.optimiser.rate = rate.value_or(usual_rate(pack.apm, result.freeze));
  constexpr Index kUsualBatch = 8;
  result.batch = batch.value_or(trains_encoder() ? 1 : kUsualBatch);
  constexpr double kUsualDecay = 0.01;
  result.optimiser.weight_decay = weight_decay.value_or(optimiser == "adamw" ? kUsualDecay : 0.0);
  const auto has_label = [&](Index value) {
    return pack.apm != ApmKind::none && std::find(pack.point_value.begin(), pack.point_value.end(),
                                                  value) != pack.point_value.end();
  };
  const bool has_corners = has_label(2) && has_label(3);
  constexpr double kUsualCornerWeight = 5;
  constexpr double kUsualPointJitter = 0.05;
  result.loss.corner_weight = corner_weight.value_or(has_corners ? kUsualCornerWeight : 0);
  result.point_jitter = point_jitter.value_or(has_corners ? kUsualPointJitter : 0);
  if (result.loss.corner_weight > 0 && !has_corners) {
    throw UsageError("--corner-weight needs an APM that predicts box corners: --points corners");
  }
  try {
    validate(result);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  return result;
}

AugmentationConfig TrainingOptions::augmentation() const {
  AugmentationConfig result;
  constexpr const char* kOption = "--augment-config";
  if (const std::optional<Json> fields = parse_config(augment_config, kOption)) {
    checked_config([&] { apply_json(*fields, result); }, kOption);
  }
  checked_config([&] { validate(result); }, kOption);
  return result;
}

void check_options(const TrainingOptions& options) {
  if (options.data.empty() == options.images.empty()) {
    throw UsageError("name the data: --data CSV, or --images DIR with --masks DIR");
  }
  if (options.images.empty() != options.masks.empty()) {
    throw UsageError("--images and --masks go together");
  }
  if (options.method != "ips" && options.prompt != "image") {
    throw UsageError("--train-prompt is for --method ips: an APM predicts its prompts");
  }
  if (options.method == "ips" &&
      (!options.apm.empty() || !options.points.empty() || options.point_jitter.has_value())) {
    throw UsageError("--apm, --points and --point-jitter are for an APM: --method apm or apm+ips");
  }
  if (options.augment == 0 && !options.augment_config.empty()) {
    throw UsageError("--augment-config goes with --augment");
  }
  if (options.optimiser == "adam" && options.weight_decay.value_or(0) > 0) {
    throw UsageError("--weight-decay goes with --optimiser adamw");
  }
  if (options.trains_encoder() && options.model_output.empty()) {
    throw UsageError("--freeze fz4 trains the whole model: name a file for it with --model-out");
  }
  if (!options.trains_encoder() && !options.model_output.empty()) {
    throw UsageError("--model-out goes with --freeze fz4: the model stays as it is");
  }
  if (options.common.backend == "reference") {
    throw UsageError("training runs on the backend eigen; the reference would take days");
  }
  if (!options.common.max_memory.empty()) {
    throw UsageError("--max-memory: what training takes is not known beforehand");
  }
  if (options.common.precision != "fp32") {
    throw UsageError("training runs at --precision fp32; the pack then serves both");
  }
  try {
    if (!options.window.empty()) parse_window(options.window);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

}  // namespace promiseg::cli

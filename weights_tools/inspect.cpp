#include "inspect.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <sstream>
#include <utility>

#include "check_tensors.hpp"
#include "find_config.hpp"
#include "find_pack_config.hpp"
#include "promiseg/adapt/pack_file.hpp"
#include "promiseg/io/pickle_value.hpp"
#include "promiseg/sam/model_file.hpp"
#include "sort_tensors.hpp"
#include "weight_input.hpp"

namespace promiseg::tools {

namespace {

Json number(std::size_t value) { return static_cast<std::int64_t>(value); }

/// Copies what a promiseg file says about itself. True if it says anything.
bool add_own_description(const WeightInput& input, Json& description) {
  const auto text = input.metadata.find(kMetadataKey);
  if (text == input.metadata.end()) return false;
  try {
    const Json own = Json::parse(text->second);
    for (const auto& [name, value] : own.as_object()) {
      const bool measured = name != "kind" && description.find(name) != nullptr;
      if (!measured) description.set(name, value);
    }
  } catch (const Error& error) {
    fail(error.code(), input.name, ": metadata \"", kMetadataKey, "\": ", error.what());
  }
  return true;
}

/// Adds a pack's modules in words, if its config can be understood.
void add_pack_summary(Json& description) {
  const Json* config = description.find("config");
  if (description.at("kind") != Json("pack") || config == nullptr) return;
  try {
    PackConfig pack;
    apply_json(*config, pack);
    validate(pack);
    description.set("summary", describe_pack(pack));
  } catch (const Error&) {
    return;  // `verify` says what is wrong; the config is shown as it is
  }
}

/// Adds the configs of a foreign file, if it is a SAM's and has ProMISe's modules.
void add_found_configs(const WeightInput& input, Json& description) {
  try {
    const SortedTensors sorted = sort_tensors(input.tensors, input.name);
    if (!sorted.pack.empty()) description.set("adapter_tensors", number(sorted.pack.size()));
    FoundConfig found = find_config(sorted.model, std::nullopt, input.name);
    description.set("config", to_json(found.config));
    description.set("notes", Json::array(found.notes));
    if (sorted.pack.empty()) return;
    const FoundPackConfig pack =
        find_pack_config(sorted.pack, found.config, std::nullopt, input.name);
    found.notes.insert(found.notes.end(), pack.notes.begin(), pack.notes.end());
    description.set("pack_config", to_json(pack.config));
    description.set("summary", describe_pack(pack.config, pack.labels_assumed));
    description.set("notes", Json::array(found.notes));
  } catch (const Error&) {
    return;  // other tensors than a SAM's are nothing wrong
  }
}

void add_tensors(const WeightInput& input, Json& description) {
  std::size_t values = 0;
  std::size_t bytes = 0;
  std::map<std::string_view, std::int64_t> dtypes;
  Json::Array list;
  for (const auto& [name, entry] : input.tensors) {
    values += entry.bytes.size() / size_of(entry.dtype);
    bytes += entry.bytes.size();
    ++dtypes[to_string(entry.dtype)];
    const std::vector<std::int64_t> shape(entry.shape.begin(), entry.shape.end());
    list.push_back(Json::Object{
        {"name", name}, {"dtype", to_string(entry.dtype)}, {"shape", Json::array(shape)}});
  }
  description.set("tensor_count", number(list.size()));
  description.set("values", number(values));
  description.set("tensor_bytes", number(bytes));
  Json counts{Json::Object{}};
  for (const auto& [dtype, count] : dtypes) counts.set(std::string(dtype), count);
  description.set("dtypes", std::move(counts));
  description.set("tensors", std::move(list));
}

/// A JSON value on one line; text without its quotes, fit for a terminal.
std::string plain(const Json& value) {
  constexpr std::size_t kLongest = 1000;
  return printable(value.is_string() ? value.as_string() : value.dump(), kLongest);
}

/// The first value that is not finite, or the number of values.
template <class Bits>
std::size_t first_non_finite(std::span<const std::byte> bytes, Bits exponent) {
  const std::size_t count = bytes.size() / sizeof(Bits);
  for (std::size_t i = 0; i < count; ++i) {
    Bits bits = 0;
    std::memcpy(&bits, bytes.data() + i * sizeof bits, sizeof bits);
    if ((bits & exponent) == exponent) return i;  // all exponent bits: infinite or no number
  }
  return count;
}

std::size_t first_non_finite(const TensorEntry& entry) {
  switch (entry.dtype) {
    case DType::f32:
      return first_non_finite(entry.bytes, std::uint32_t{0x7F800000});
    case DType::f16:
      return first_non_finite(entry.bytes, std::uint16_t{0x7C00});
    case DType::bf16:
      return first_non_finite(entry.bytes, std::uint16_t{0x7F80});
    case DType::f64:
      return first_non_finite(entry.bytes, std::uint64_t{0x7FF0000000000000});
    default:
      return entry.bytes.size() / size_of(entry.dtype);
  }
}

}  // namespace

Json inspect(const std::filesystem::path& path) {
  const WeightInput input = open_weights(path);
  Json description;
  description.set("file", path.string());
  description.set("format", to_string(input.format));
  description.set("bytes", number(std::filesystem::file_size(path)));
  description.set("kind", to_string(input.format));
  if (add_own_description(input, description)) {
    add_pack_summary(description);
  } else {
    add_found_configs(input, description);
  }
  Json metadata{Json::Object{}};
  for (const auto& [name, text] : input.metadata) {
    if (name != kMetadataKey) metadata.set(name, text);
  }
  description.set("metadata", std::move(metadata));
  description.set("skipped", Json::array(input.skipped));
  add_tensors(input, description);
  return description;
}

std::string to_text(const Json& description) {
  std::ostringstream out;
  const auto line = [&](const std::string& name, const std::string& text) {
    constexpr std::size_t kColumn = 36;
    const std::size_t gap = name.size() < kColumn ? kColumn - name.size() : 1;
    out << name << std::string(gap, ' ') << text << '\n';
  };
  for (const auto& [name, value] : description.as_object()) {
    if (name == "tensors") continue;
    if (value.is_array() || value.is_object()) {
      const bool empty = value.is_array() ? value.as_array().empty() : value.as_object().empty();
      if (empty) continue;
    }
    if (value.is_object()) {
      for (const auto& [field, item] : value.as_object()) {
        std::string path = name;
        path.append(".").append(field);
        line(printable(path), plain(item));
      }
    } else if (value.is_array() && (name == "notes" || name == "skipped")) {
      for (const Json& item : value.as_array()) line(name, plain(item));
    } else {
      line(printable(name), plain(value));
    }
  }
  for (const Json& tensor : description.at("tensors").as_array()) {
    out << "  " << printable(tensor.at("name").as_string(), 200) << "  "
        << tensor.at("dtype").as_string() << ' ' << tensor.at("shape").dump() << '\n';
  }
  return out.str();
}

Json to_json(const VerifyReport& report) {
  Json json;
  json.set("ok", report.ok());
  json.set("kind", report.kind);
  json.set("summary", report.summary);
  json.set("config", report.config);
  if (report.kind == "pack") {
    json.set("model_name", report.model_name);
    json.set("model_sha256", report.model_sha256);
  }
  json.set("tensors", number(report.tensors));
  json.set("values", static_cast<std::int64_t>(report.values));
  json.set("weights_sha256", report.weights_sha256);
  json.set("notes", Json::array(report.notes));
  json.set("problems", Json::array(report.problems));
  return json;
}

std::string to_text(const VerifyReport& report) {
  std::ostringstream out;
  if (report.kind == "pack") {
    out << "pack            " << report.summary << '\n'
        << "belongs to      " << printable(report.model_name, 200) << ' '
        << printable(report.model_sha256) << '\n';
  } else {
    out << "architecture    " << report.summary << '\n';
  }
  out << "tensors         " << report.tensors << " (" << report.values << " values)\n"
      << "weights sha256  " << report.weights_sha256 << '\n';
  for (const std::string& note : report.notes) out << "note            " << note << '\n';
  for (const std::string& problem : report.problems) out << "problem         " << problem << '\n';
  if (report.ok()) {
    out << "all tensors fit, all values are finite, the hash is right\n";
  } else {
    out << "this " << report.kind << " must not be used\n";
  }
  return out.str();
}

namespace {

/// Counts and hashes the values and finds those that are not finite. `stated` is the hash that the
/// file names.
void verify_values(const TensorEntries& tensors, const std::string& stated, VerifyReport& report) {
  report.tensors = tensors.size();
  std::size_t non_finite = 0;
  for (const auto& [name, entry] : tensors) {
    const std::size_t values = entry.bytes.size() / size_of(entry.dtype);
    report.values += values;
    const std::size_t at = first_non_finite(entry);
    if (at < values && ++non_finite <= kMostProblems) {
      report.problems.push_back("tensor \"" + printable(name, 200) +
                                "\": expected finite numbers, element " + std::to_string(at) +
                                " is infinite or not a number");
    }
  }
  report.weights_sha256 = weights_sha256(tensors);
  if (report.weights_sha256 != stated) {
    report.problems.push_back("the weights have the hash " + report.weights_sha256 +
                              ", but the file states \"" + printable(stated) +
                              "\": they were changed after the file was made");
  }
}

VerifyReport verify_model(const std::filesystem::path& path) {
  const ModelFile model(path);
  const TensorEntries& tensors = model.file().tensors();
  VerifyReport report;
  report.kind = "model";
  report.summary = model.config().arch;
  report.config = to_json(model.config());
  report.problems = check_model_tensors(tensors, model.config()).problems;
  verify_values(tensors, model.provenance().weights_sha256, report);
  return report;
}

/// Compares a pack with the model it is to belong to. False if its tensors cannot be.
bool fits_model(const PackFile& pack, const ModelFile& model, VerifyReport& report) {
  const std::string& sha256 = model.provenance().weights_sha256;
  if (report.model_sha256 != sha256) {
    report.problems.push_back("the pack belongs to the model " + printable(report.model_name, 200) +
                              " " + printable(report.model_sha256) + ", " + model.name() + " is " +
                              printable(describe_model(model.config(), model.provenance()), 200) +
                              " " + printable(sha256));
  }
  try {
    validate(pack.config(), model.config());
    return true;
  } catch (const Error& error) {
    report.problems.emplace_back(error.what());
    return false;
  }
}

VerifyReport verify_pack(const std::filesystem::path& path,
                         const std::optional<std::filesystem::path>& model_path) {
  const PackFile pack(path);
  const TensorEntries& tensors = pack.file().tensors();
  VerifyReport report;
  report.kind = "pack";
  report.summary = describe_pack(pack.config());
  report.config = to_json(pack.config());
  report.model_name = pack.provenance().model_name;
  report.model_sha256 = pack.provenance().model_sha256;
  bool compared = false;
  if (model_path.has_value()) {
    const ModelFile model(*model_path);
    compared = fits_model(pack, model, report);
    if (compared) {
      const auto check = check_pack_tensors(tensors, pack.config(), model.config());
      report.problems.insert(report.problems.end(), check.problems.begin(), check.problems.end());
    }
  } else {
    report.notes.emplace_back(
        "sizes that the model decides, its taps and whether the pack belongs to it were not "
        "checked; name the model with --for to check them too");
  }
  if (!compared) {
    const auto check = check_pack_tensors(tensors, pack.config());
    report.problems.insert(report.problems.end(), check.problems.begin(), check.problems.end());
  }
  verify_values(tensors, pack.provenance().weights_sha256, report);
  return report;
}

/// True for a promiseg file of the kind "pack"; what else a file is, its reader says.
bool is_pack(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  const auto text = file.metadata().find(kMetadataKey);
  if (text == file.metadata().end()) return false;
  try {
    const Json json = Json::parse(text->second);
    const Json* kind = json.find("kind");
    return kind != nullptr && *kind == Json("pack");
  } catch (const Error& error) {
    fail(error.code(), path.string(), ": ", error.what());
  }
}

}  // namespace

VerifyReport verify(const std::filesystem::path& path,
                    const std::optional<std::filesystem::path>& model) {
  if (is_pack(path)) return verify_pack(path, model);
  require(!model.has_value(), ErrorCode::invalid_argument, path.string(),
          ": expected a pack; nothing else belongs to a model");
  return verify_model(path);
}

}  // namespace promiseg::tools

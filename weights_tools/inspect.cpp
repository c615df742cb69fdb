#include "inspect.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <sstream>
#include <utility>

#include "check_tensors.hpp"
#include "find_config.hpp"
#include "promiseg/io/pickle_value.hpp"
#include "promiseg/sam/model_file.hpp"
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

/// Adds the config of a foreign file, if it is a SAM's.
void add_found_config(const WeightInput& input, Json& description) {
  try {
    const FoundConfig found = find_config(input.tensors, std::nullopt, input.name);
    description.set("config", to_json(found.config));
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
  if (!add_own_description(input, description)) add_found_config(input, description);
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
        line(printable(name + "." + field), plain(item));
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
  json.set("config", to_json(report.config));
  json.set("tensors", number(report.tensors));
  json.set("values", static_cast<std::int64_t>(report.values));
  json.set("weights_sha256", report.weights_sha256);
  json.set("problems", Json::array(report.problems));
  return json;
}

std::string to_text(const VerifyReport& report) {
  std::ostringstream out;
  out << "architecture    " << report.config.arch << '\n'
      << "tensors         " << report.tensors << " (" << report.values << " values)\n"
      << "weights sha256  " << report.weights_sha256 << '\n';
  for (const std::string& problem : report.problems) out << "problem         " << problem << '\n';
  out << (report.ok() ? "all tensors fit, all values are finite, the hash is right\n"
                      : "this model must not be used\n");
  return out.str();
}

VerifyReport verify(const std::filesystem::path& path) {
  constexpr std::size_t kMostProblems = 100;
  const ModelFile model(path);
  const TensorEntries& tensors = model.file().tensors();
  VerifyReport report;
  report.config = model.config();
  report.tensors = tensors.size();
  report.problems = check_tensors(tensors, model.config()).problems;
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
  const std::string& stated = model.provenance().weights_sha256;
  if (report.weights_sha256 != stated) {
    report.problems.push_back("the weights have the hash " + report.weights_sha256 +
                              ", but the file states \"" + stated +
                              "\": they were changed after the file was made");
  }
  return report;
}

}  // namespace promiseg::tools

// The `--config` option: fields of a config struct as JSON.
#pragma once

#include <optional>
#include <string>

#include "command.hpp"
#include "promiseg/io/file.hpp"

namespace promiseg::cli {

/// The JSON object of a `--config` option: the text itself, or a file's contents after an "@".
inline std::optional<Json> parse_config(const std::string& text, const char* option = "--config") {
  if (text.empty()) return std::nullopt;
  try {
    if (text.front() != '@') return Json::parse(text);
    const MappedFile file(text.substr(1));
    return Json::parse({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
  } catch (const Error& error) {
    throw UsageError(std::string(option) + ": expected a JSON object or @FILE: " + error.what());
  }
}

/// Runs what applies the fields of a `--config` option: a bad field is wrong usage.
template <class Apply>
auto checked_config(const Apply& apply, const char* option = "--config") {
  try {
    return apply();
  } catch (const Error& error) {
    throw UsageError(std::string(option) + ": " + error.what());
  }
}

}  // namespace promiseg::cli

// Numbers of bytes as people write them.
#pragma once

#include <cctype>
#include <charconv>
#include <cstdint>
#include <string>

#include "command.hpp"

namespace promiseg::cli {

/// Bytes of a text like 600MB, 1.5GiB or 1000000; a kilobyte is 1024 bytes, however it is spelt.
/// Throws `UsageError` for anything else, and for less than one byte.
inline std::uint64_t parse_bytes(const std::string& text) {
  constexpr double kLargest = 9e18;
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string unit;
  for (const char* c = end; c != text.data() + text.size(); ++c) {
    if (*c != ' ') unit.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(*c))));
  }
  for (const std::string& ending : {std::string("ib"), std::string("b")}) {
    if (unit.ends_with(ending)) {
      unit.resize(unit.size() - ending.size());
      break;
    }
  }
  const std::size_t power = unit.empty() ? 0 : std::string("kmgt").find(unit) + 1;
  const bool known = unit.size() <= 1 && power <= 4 && (unit.empty() || power > 0);
  for (std::size_t i = 0; i < power && known; ++i) number *= 1024;
  if (error != std::errc() || !known || !(number >= 1) || number > kLargest) {
    throw UsageError("--max-memory: expected bytes, as 600MB, 1.5GiB or 1000000, got \"" + text +
                     "\"");
  }
  return static_cast<std::uint64_t>(number);
}

}  // namespace promiseg::cli

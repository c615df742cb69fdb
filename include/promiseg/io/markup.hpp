// Text for HTML and SVG: escaped names, and numbers that do not depend on the locale.
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <system_error>

namespace promiseg {

/// What stands for a number that is not there: an en dash, in UTF-8.
inline constexpr std::string_view kDash = "\xE2\x80\x93";

/// Text as it may stand between tags and in quoted attributes. Control characters become spaces.
/// Bytes that are not UTF-8 stay; a browser shows them as U+FFFD.
inline std::string escape_markup(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return escaped;
}

/// "0.913" for three decimals; a dash for what is not finite.
inline std::string fixed_text(double value, int decimals) {
  if (!std::isfinite(value)) return std::string(kDash);
  std::array<char, 352> digits{};  // the largest double has 309 digits before the point
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value,
                                          std::chars_format::fixed, decimals);
  return error == std::errc{} ? std::string(digits.data(), end) : std::string(kDash);
}

/// Four significant digits, "12", "0.9134" or "1e+20"; a dash for what is not finite.
inline std::string general_text(double value) {
  if (!std::isfinite(value)) return std::string(kDash);
  std::array<char, 32> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value,
                                          std::chars_format::general, 4);
  return error == std::errc{} ? std::string(digits.data(), end) : std::string(kDash);
}

namespace detail {

/// The parts, strings of any kind, one after the other.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::string text;
  (text.append(parts), ...);
  return text;
}

}  // namespace detail
}  // namespace promiseg

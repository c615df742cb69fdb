// The words of the overlay's legend: safe to hand to a text renderer, whatever the user typed.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>

namespace promiseg::cli {

/// The number of bytes of the UTF-8 character at the start of `text`; 0 if it is none.
inline std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xf0 ? 4 : (lead >= 0xe0 ? 3 : 2);
  if (lead < 0xc2 || lead > 0xf4 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what lies beyond Unicode.
  const unsigned second = byte(1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
      (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
    return 0;
  }
  return length;
}

/// A label as one line of at most 120 characters, with '?' for bytes that are not UTF-8.
inline std::string clean_label(std::string_view label) {
  std::string result;
  for (std::size_t used = 0; used < 120 && !label.empty(); ++used) {
    const std::size_t length = utf8_length(label);
    const unsigned char lead = static_cast<unsigned char>(label[0]);
    if (length == 0) {
      result += '?';
    } else if (lead < 0x20 || lead == 0x7f) {
      result += ' ';
    } else {
      result += label.substr(0, length);
    }
    label.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return result;
}

/// Two decimals whatever the locale; empty if the score is not finite or absurdly large.
inline std::string score_text(double score) {
  if (!std::isfinite(score)) return {};
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), score,
                                 std::chars_format::fixed, 2);
  if (end.ec != std::errc{}) return {};
  return {digits.data(), end.ptr};
}

}  // namespace promiseg::cli

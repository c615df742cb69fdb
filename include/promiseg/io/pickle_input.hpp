// The bytes of a pickle, taken from front to back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "promiseg/core/error.hpp"

namespace promiseg::detail {

inline bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80             ? 1
                               : (lead & 0xE0) == 0xC0 ? 2
                               : (lead & 0xF0) == 0xE0 ? 3
                               : (lead & 0xF8) == 0xF0 ? 4
                                                       : 0;
    if (length == 0 || length > text.size() - i) return false;
    std::uint32_t code = length == 1 ? lead : lead & (0x7Fu >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xC0) != 0x80) return false;
      code = (code << 6) | (next & 0x3Fu);
    }
    static constexpr std::array<std::uint32_t, 5> kSmallest{0, 0, 0x80, 0x800, 0x10000};
    if (code < kSmallest[length] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      return false;
    }
    i += length;
  }
  return true;
}

/// Hands out bytes and never reads beyond the end. All failures are `bad_format` and tell the
/// position.
class PickleInput {
 public:
  explicit PickleInput(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t position() const { return position_; }
  std::size_t remaining() const { return bytes_.size() - position_; }

  template <class... Parts>
  void check(bool condition, const Parts&... parts) const {
    if (!condition) fail(ErrorCode::bad_format, "pickle, byte ", position_, ": ", parts...);
  }

  std::string_view take(std::uint64_t count) {
    check(count <= remaining(), "the data end before ", count, " more bytes");
    const std::string_view text(text_ + position_, static_cast<std::size_t>(count));
    position_ += text.size();
    return text;
  }

  unsigned take_byte() { return static_cast<unsigned char>(take(1)[0]); }

  /// Little-endian.
  std::uint64_t take_unsigned(std::size_t width) {
    const std::string_view text = take(width);
    std::uint64_t value = 0;
    for (std::size_t i = width; i-- > 0;) {
      value = (value << 8) | static_cast<unsigned char>(text[i]);
    }
    return value;
  }

  /// Up to the end of the line, which is taken too but not part of the result.
  std::string_view take_line() {
    const std::size_t begin = position_;
    while (take_byte() != '\n') {
    }
    return {text_ + begin, position_ - 1 - begin};
  }

 private:
  std::span<const std::byte> bytes_;
  const char* text_ = reinterpret_cast<const char*>(bytes_.data());
  std::size_t position_ = 0;
};

}  // namespace promiseg::detail

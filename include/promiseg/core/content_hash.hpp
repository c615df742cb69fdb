// A fingerprint of bytes, to recognise what has been seen before. Not for defence against people
// who want two contents to look alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "promiseg/core/random.hpp"

namespace promiseg {

/// 128 bits that depend on every byte and their order.
class ContentHash {
 public:
  ContentHash& add(std::span<const std::byte> bytes) {
    for (std::byte byte : bytes) {
      low_ = (low_ ^ static_cast<std::uint64_t>(byte)) * kPrime;
      high_ = (high_ + low_) * kMultiplier + (high_ >> 29);
    }
    // Where one piece ends is part of the content.
    low_ = mix_bits(low_ ^ bytes.size());
    return *this;
  }
  ContentHash& add(std::string_view text) { return add(std::as_bytes(std::span(text))); }

  /// 32 hexadecimal digits.
  std::string text() const {
    std::string digits;
    for (std::uint64_t half : {mix_bits(high_), mix_bits(low_ ^ high_)}) {
      for (int shift = 60; shift >= 0; shift -= 4) {
        digits += "0123456789abcdef"[(half >> shift) & 0xFU];
      }
    }
    return digits;
  }

 private:
  static constexpr std::uint64_t kPrime = 0x100000001B3U;  // FNV-1a's
  static constexpr std::uint64_t kMultiplier = 0x9E3779B97F4A7C15U;

  std::uint64_t low_ = 0xCBF29CE484222325U;
  std::uint64_t high_ = 0x6A09E667F3BCC908U;
};

}  // namespace promiseg

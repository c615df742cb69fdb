#include "promiseg/io/base64.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using promiseg::base64;

namespace {

std::string base64_of(std::string_view text) { return base64(std::as_bytes(std::span(text))); }

}  // namespace

TEST_CASE("base64: the examples of RFC 4648") {
  CHECK(base64_of("").empty());
  CHECK(base64_of("f") == "Zg==");
  CHECK(base64_of("fo") == "Zm8=");
  CHECK(base64_of("foo") == "Zm9v");
  CHECK(base64_of("foob") == "Zm9vYg==");
  CHECK(base64_of("fooba") == "Zm9vYmE=");
  CHECK(base64_of("foobar") == "Zm9vYmFy");
}

TEST_CASE("base64: bytes of all values, and no line ends") {
  CHECK(base64(std::array{std::byte{0xFB}, std::byte{0xFF}, std::byte{0xFE}}) == "+//+");
  CHECK(base64(std::array{std::byte{0}, std::byte{0}, std::byte{0}}) == "AAAA");
  const std::vector<std::byte> many(3000, std::byte{0x41});
  const std::string text = base64(many);
  CHECK(text.size() == 4000);
  CHECK(text.find_first_not_of("QUFB") == std::string::npos);
}
